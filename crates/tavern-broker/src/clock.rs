//! The log's clock, as this node knows it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tavern_backend::LogTime;
use tokio::time::Instant;

/// The log's clock: this process's monotonic clock and an offset learnt from the log's answers.
#[derive(Debug)]
pub(crate) struct LogClock {
    start: Instant,
    /// The log's time at `start`, in milliseconds.
    base: AtomicI64,
}

impl LogClock {
    /// The system's clock, until the log has told its own.
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), base: AtomicI64::new(millis(now)) }
    }

    /// The log's time now.
    pub(crate) fn now(&self) -> LogTime {
        let elapsed = millis(self.start.elapsed());
        LogTime::from_millis(self.base.load(Ordering::Relaxed).saturating_add(elapsed))
    }

    /// Takes the log's answer `told` to a question asked at `asked`: it was true half-way.
    pub(crate) fn learn(&self, told: LogTime, asked: Instant) {
        let half_way = (asked - self.start) + asked.elapsed() / 2;
        self.base.store(told.as_millis().saturating_sub(millis(half_way)), Ordering::Relaxed);
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
