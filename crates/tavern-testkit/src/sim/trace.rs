//! What happened, line by line, and a number that two equal runs share.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tavern_backend::{Epoch, Position};
use tokio::time::Instant;

/// Takes down what happens, under the virtual time of its moment. Cheap to clone.
#[derive(Clone)]
pub(super) struct Trace {
    start: Instant,
    /// Guards the text only.
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    text: String,
    /// Where the text is not kept, it is made here to be counted.
    line: String,
    keeps: bool,
    hash: u64,
    lines: u64,
    /// Epochs in the order of their first mention: their numbers say nothing to a reader.
    epochs: Vec<Epoch>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("lines", &self.inner().lines).finish_non_exhaustive()
    }
}

impl Trace {
    /// Begins now. The text is kept only where somebody is going to read it.
    pub(super) fn begin(keeps: bool) -> Self {
        let inner = Inner {
            text: String::new(),
            line: String::new(),
            keeps,
            hash: 0xcbf2_9ce4_8422_2325,
            lines: 0,
            epochs: Vec::new(),
        };
        Self { start: Instant::now(), inner: Arc::new(Mutex::new(inner)) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago it began.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Takes down a line.
    pub(super) fn say(&self, what: fmt::Arguments<'_>) {
        let now = self.now();
        let mut guard = self.inner();
        let inner = &mut *guard;
        inner.line.clear();
        // Writing to a string cannot fail.
        let _ = writeln!(inner.line, "{:4}.{:03} {what}", now.as_secs(), now.subsec_millis());
        inner.hash = inner
            .line
            .bytes()
            .fold(inner.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        inner.lines += 1;
        if inner.keeps {
            inner.text.push_str(&inner.line);
        }
    }

    /// A position that a reader can follow: `e2-57` is seq 57 of the second epoch.
    pub(super) fn at(&self, position: Position) -> At {
        let mut inner = self.inner();
        let known = inner.epochs.iter().position(|epoch| *epoch == position.epoch);
        let number = known.unwrap_or_else(|| {
            inner.epochs.push(position.epoch);
            inner.epochs.len() - 1
        });
        At { epoch: number + 1, seq: position.seq }
    }

    /// The number that stands for all of it, how many lines it has, and its text as far as kept.
    pub(super) fn end(&self) -> (u64, u64, String) {
        let mut inner = self.inner();
        (inner.hash, inner.lines, std::mem::take(&mut inner.text))
    }
}

/// A position with its epoch by number.
#[derive(Clone, Copy)]
pub(super) struct At {
    epoch: usize,
    seq: u64,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}-{}", self.epoch, self.seq)
    }
}
