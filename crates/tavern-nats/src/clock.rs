//! The log's clock: the server's, as far as it is known here.

use std::sync::{Mutex, PoisonError};

use tavern_backend::LogTime;
use tokio::time::Instant;

use crate::number::millis;

/// How much two estimates may differ before the newer one counts.
const SLACK: i64 = 5;

/// Carries on, between two looks, with this machine's steady clock: a step of its wall clock
/// changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// A moment here, and what it was on the server. Guards the pair only.
    known: Mutex<Option<(Instant, i64)>>,
}

impl Clock {
    /// Takes the server's time in an answer to a question that was put at `asked`.
    pub(crate) fn learn(&self, asked: Instant, server: i64) {
        let now = Instant::now();
        // It was read somewhere between the question and the answer.
        let trip = millis(now.saturating_duration_since(asked));
        let estimate = server.saturating_add(trip / 2);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = known.is_none_or(|(at, time)| {
            let ours = time.saturating_add(millis(now.saturating_duration_since(at)));
            ours.abs_diff(estimate) > u64::try_from(trip.saturating_add(SLACK)).unwrap_or(0)
        });
        if differs {
            *known = Some((now, estimate));
        }
    }

    pub(crate) fn now(&self) -> LogTime {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let millis = known.map_or(0, |(at, time)| time.saturating_add(millis(at.elapsed())));
        LogTime::from_millis(millis)
    }
}
