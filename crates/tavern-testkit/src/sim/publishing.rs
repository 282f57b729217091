//! What was published, and what its publisher was told of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tavern_backend::{Cursor, Lane, MessageId, Position};
use tavern_broker::{Error, Outcome, Settled, Ticket};

use super::trace::Trace;

/// One publication.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) lane: Lane,
    pub(super) text: Arc<str>,
    pub(super) live: bool,
    /// It was sent before under its id.
    pub(super) again: bool,
    pub(super) id: Option<MessageId>,
    pub(super) ttl: Option<Duration>,
    pub(super) link: usize,
    pub(super) at: Duration,
    pub(super) said: Said,
}

/// What its publisher was told.
#[derive(Debug)]
pub(super) enum Said {
    Nothing,
    Stored(Position),
    Duplicate(Position),
    Live,
    Spooled(Ticket),
    /// It is refused; `sure` if it is certainly not in the log.
    Refused {
        sure: bool,
        why: String,
    },
    /// A promise was taken back.
    Discarded {
        sure: bool,
        why: String,
    },
}

/// A call that has not come back.
pub(super) struct Underway {
    pub(super) link: usize,
    /// The numbers of the publications.
    pub(super) numbers: Vec<usize>,
    pub(super) call: BoxFuture<'static, Vec<Result<Outcome, Error>>>,
}

impl Said {
    pub(super) fn of(answer: Result<Outcome, Error>) -> Self {
        match answer {
            Ok(Outcome::Stored(Cursor(at))) => Self::Stored(at),
            Ok(Outcome::Duplicate(Cursor(at))) => Self::Duplicate(at),
            Ok(Outcome::Live) => Self::Live,
            Ok(Outcome::Spooled(ticket)) => Self::Spooled(ticket),
            Ok(_) => Self::Nothing,
            Err(error) => {
                let sure = match &error {
                    Error::Closed => false,
                    Error::Backend(e) => !matches!(e, tavern_backend::Error::OutcomeUnknown { .. }),
                    _ => true,
                };
                Self::Refused { sure, why: error.to_string() }
            }
        }
    }

    /// In a word or two.
    pub(super) fn word(&self, trace: &Trace) -> String {
        match self {
            Self::Nothing => "nothing is said".to_owned(),
            Self::Stored(at) => format!("stored at {}", trace.at(*at)),
            Self::Duplicate(at) => format!("a duplicate of {}", trace.at(*at)),
            Self::Live => "live".to_owned(),
            Self::Spooled(_) => "spooled".to_owned(),
            Self::Refused { why, .. } => format!("refused: {why}"),
            Self::Discarded { why, .. } => format!("discarded: {why}"),
        }
    }

    /// What a ticket came to, if it has.
    pub(super) fn settle(&mut self) -> bool {
        let Self::Spooled(ticket) = self else { return false };
        let Some(settled) = ticket.settled() else { return false };
        *self = match settled {
            Settled::Stored(Cursor(at)) => Self::Stored(at),
            Settled::Duplicate(Cursor(at)) => Self::Duplicate(at),
            Settled::Discarded { reason, maybe_stored } => {
                Self::Discarded { sure: !maybe_stored, why: reason }
            }
            _ => return false,
        };
        true
    }
}
