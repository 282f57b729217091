//! What became of a publication.

use std::time::Duration;

use tavern_backend::Cursor;
use tokio::sync::watch;
use tokio::time::Instant;

/// What became of a publication that was accepted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// It is in the log, at the engine's configured durability.
    Stored(Cursor),
    /// The log had it before, here.
    Duplicate(Cursor),
    /// The topic is live: local subscribers have it, other nodes get it at most once.
    Live,
    /// The backend is away: this process keeps the message and will try until the ticket's time.
    /// It does not survive the end of the process.
    Spooled(Ticket),
}

impl Outcome {
    /// Where the message stands in the log, if it does.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        match self {
            Self::Stored(cursor) | Self::Duplicate(cursor) => Some(*cursor),
            Self::Live | Self::Spooled(_) => None,
        }
    }
}

/// The promise behind [`Outcome::Spooled`].
#[derive(Debug, Clone)]
pub struct Ticket {
    pub(crate) until: Instant,
    pub(crate) settled: watch::Receiver<Option<Settled>>,
}

/// The final outcome of a spooled publication.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// It is in the log.
    Stored(Cursor),
    /// The log had it before: also when the answer to an earlier attempt was lost.
    Duplicate(Cursor),
    /// It will not be tried any more; this is counted, logged, and announced as a gap to this
    /// node's subscribers, and to those who resume on this node from where the log stood then.
    Discarded {
        /// Why, for a person.
        reason: String,
        /// Whether an earlier attempt may have stored it, its answer being lost.
        maybe_stored: bool,
    },
}

impl Ticket {
    /// How much longer the broker will try.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The final outcome, if it is known by now.
    #[must_use]
    pub fn settled(&self) -> Option<Settled> {
        self.settled.borrow().clone()
    }

    /// Waits for the final outcome.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait(&mut self) -> Settled {
        match self.settled.wait_for(Option::is_some).await.map(|settled| settled.clone()) {
            Ok(Some(settled)) => settled,
            Ok(None) | Err(_) => Settled::Discarded {
                reason: "the broker ended before the outcome was known".to_owned(),
                maybe_stored: true,
            },
        }
    }
}
