//! How a subscriber is woken: one parked waker each, taken under the ring's lock, woken outside.

use std::sync::Arc;
use std::task::Waker;

use futures_util::task::AtomicWaker;
use slab::Slab;

/// The parking place of one subscriber.
///
/// A subscriber registers its waker *before* it looks at the ring, and a writer takes the waker
/// *after* it has written: whichever comes second sees the other.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    waker: AtomicWaker,
}

impl Signal {
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes the waker of whoever is parked here, to be woken once the caller's lock is released.
    pub(crate) fn take(&self) -> Option<Waker> {
        self.waker.take()
    }
}

/// The subscribers that follow one index.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    parked: Slab<Arc<Signal>>,
}

impl Signals {
    pub(crate) fn add(&mut self, signal: &Arc<Signal>) -> usize {
        self.parked.insert(Arc::clone(signal))
    }

    pub(crate) fn remove(&mut self, key: usize) {
        self.parked.try_remove(key);
    }

    pub(crate) fn len(&self) -> usize {
        self.parked.len()
    }

    /// Takes the wakers of all who are parked; the caller wakes them once its lock is released, as
    /// a waker is foreign code.
    pub(crate) fn take_into(&self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.parked.iter().filter_map(|(_, signal)| signal.take()));
    }
}
