//! The log's clock.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::LogTime;

/// The wall clock once, tokio's clock from then on: it never jumps, and stands still with paused
/// time.
#[derive(Debug)]
pub(super) struct Clock {
    base: LogTime,
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let base = LogTime::from_millis(0).after(since.unwrap_or(Duration::ZERO));
        Self { base, started: Instant::now() }
    }

    pub(super) fn now(&self) -> LogTime {
        self.base.after(self.started.elapsed())
    }
}
