//! How many streams may begin: the rest of a crowd is told when to come back.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::SseConfig;
use crate::response::spread;

/// The longest that anybody is sent away for, however many come.
const LONGEST: Duration = Duration::from_secs(300);
/// Of ten that may begin, one is left to who comes for the first time: those who come back at the
/// time they were told find room.
const RESERVED: f64 = 0.9;

/// How many streams may begin in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdmitRate {
    /// Streams that begin in a second, on average.
    pub per_second: NonZeroU32,
    /// Streams that may begin at once after a quiet time. As many as in a second.
    pub burst: NonZeroU32,
}

impl AdmitRate {
    /// So many a second, and as many at once.
    #[must_use]
    pub const fn per_second(streams: NonZeroU32) -> Self {
        Self { per_second: streams, burst: streams }
    }

    /// Sets [`burst`](Self::burst).
    #[must_use]
    pub const fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }
}

/// Lets streams begin at a rate, and gives each of the others a time of its own to come back: the
/// more are waiting, the later. So a crowd is spread over the time that it takes to let it in.
///
/// [`Hub`](crate::Hub) has one if [`HttpConfig::admit`](crate::HttpConfig::admit) says so; an
/// application that opens streams in a handler of its own keeps one beside its broker:
///
/// ```
/// # use axum::response::Response;
/// # use tavern_broker::Broker;
/// use tavern_http::{Admission, SseConfig, come_back_after, sse_response};
///
/// fn orders(broker: &Broker, admission: &Admission, sse: &SseConfig) -> Response {
///     if let Err(wait) = admission.admit(sse) {
///         return come_back_after(wait);
///     }
///     match broker.subscribe(["orders/*"]).open() {
///         Ok(subscription) => sse_response(subscription, sse),
///         Err(_) => tavern_http::come_back(sse),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Admission {
    rate: AdmitRate,
    /// Guards the two times, nothing else.
    times: Mutex<Times>,
}

#[derive(Debug)]
struct Times {
    /// When all that was admitted would have begun, had it come one by one.
    admitted: Instant,
    /// The time that was given last to somebody who has to come back.
    promised: Instant,
}

impl Admission {
    /// Nobody has come yet.
    #[must_use]
    pub fn new(rate: AdmitRate) -> Self {
        let now = Instant::now();
        Self { rate, times: Mutex::new(Times { admitted: now, promised: now }) }
    }

    /// Lets a stream begin.
    ///
    /// # Errors
    ///
    /// Too many come: the time after which the client is to try again, at least
    /// [`SseConfig::retry`] with its random part, and about five minutes at most.
    pub fn admit(&self, sse: &SseConfig) -> Result<(), Duration> {
        let now = Instant::now();
        let each = Duration::from_secs(1) / self.rate.per_second.get();
        let burst = each.saturating_mul(self.rate.burst.get() - 1);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = times.admitted.max(now);
        if admitted <= now + burst {
            times.admitted = admitted + each;
            return Ok(());
        }
        let first = now + sse.retry.min(LONGEST);
        times.promised = times.promised.max(first) + each.div_f64(RESERVED);
        let mut wait = times.promised.saturating_duration_since(now);
        if wait > LONGEST {
            // Beyond that they come back anywhere in the second half of it.
            times.promised = now + LONGEST;
            wait = LONGEST / 2 + spread(LONGEST / 2);
        }
        drop(times);
        Err(wait + spread(sse.retry_spread))
    }
}

#[cfg(test)]
mod tests;
