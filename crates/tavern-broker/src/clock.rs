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
    /// By how much that may be wrong: half of what the answer took that told.
    doubt: AtomicI64,
}

impl LogClock {
    /// The system's clock, until the log has told its own.
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Instant::now(),
            base: AtomicI64::new(millis(now)),
            doubt: AtomicI64::new(i64::MAX),
        }
    }

    /// The log's time now.
    pub(crate) fn now(&self) -> LogTime {
        let elapsed = millis(self.start.elapsed());
        LogTime::from_millis(self.base.load(Ordering::Relaxed).saturating_add(elapsed))
    }

    /// Takes the log's answer `told` to a question asked at `asked`: it was true half-way, more or
    /// less. An answer that took long is not believed over one that took less, unless that cannot
    /// be true any more.
    pub(crate) fn learn(&self, told: LogTime, asked: Instant) {
        let half = asked.elapsed() / 2;
        let base = told.as_millis().saturating_sub(millis((asked - self.start) + half));
        let doubt = millis(half).saturating_add(1);
        let off = base.abs_diff(self.base.load(Ordering::Relaxed));
        if doubt <= self.doubt.load(Ordering::Relaxed) || off > doubt.unsigned_abs() {
            self.base.store(base, Ordering::Relaxed);
            self.doubt.store(doubt, Ordering::Relaxed);
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_not_believed_over_a_quick_one() {
        let clock = LogClock::new();
        let log = |at: Instant| LogTime::from_millis(1_000_000).after(at.elapsed());
        let began = Instant::now();
        let asked = Instant::now();
        tokio::time::advance(Duration::from_millis(2)).await;
        clock.learn(log(began), asked);
        let off = |clock: &LogClock| clock.now().as_millis() - log(began).as_millis();
        assert!(off(&clock).abs() <= 2, "{}", off(&clock));
        // All of its time goes into the way back: half-way is two seconds off.
        let asked = Instant::now();
        let told = log(began);
        tokio::time::advance(Duration::from_secs(4)).await;
        clock.learn(told, asked);
        assert!(off(&clock).abs() <= 2, "{}", off(&clock));
        // The log's clock has been set: even a slow answer says so.
        let asked = Instant::now();
        let told = log(began).after(Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(1)).await;
        clock.learn(told, asked);
        assert!((off(&clock) - 60_000).abs() <= 1_000, "{}", off(&clock));
    }
}
