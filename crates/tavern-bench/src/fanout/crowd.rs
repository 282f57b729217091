//! The same for both sides: who counts a round's deliveries, and who waits until all have all.

use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Release};

use tokio::sync::Notify;

/// Subscribers that finish rounds.
#[derive(Debug)]
pub(super) struct Crowd {
    size: usize,
    finished: AtomicUsize,
    all: Notify,
}

/// One subscriber's count.
#[derive(Debug)]
pub(super) struct Count {
    batch: usize,
    received: usize,
}

impl Crowd {
    pub(super) fn new(size: usize) -> Self {
        Self { size, finished: AtomicUsize::new(0), all: Notify::new() }
    }

    /// One of the crowd has all of the round.
    pub(super) fn finish(&self) {
        if self.finished.fetch_add(1, AcqRel) + 1 == self.size {
            self.finished.store(0, Release);
            self.all.notify_one();
        }
    }

    /// Waits until everybody has finished.
    pub(super) async fn all(&self) {
        self.all.notified().await;
    }
}

impl Count {
    pub(super) fn of(batch: usize) -> Self {
        Self { batch, received: 0 }
    }

    /// Takes what came at once; says so to the crowd when that completes a round.
    pub(super) fn add(&mut self, received: usize, crowd: &Crowd) {
        self.received += received;
        if self.received >= self.batch {
            self.received -= self.batch;
            crowd.finish();
        }
    }
}
