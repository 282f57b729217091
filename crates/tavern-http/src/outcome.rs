//! What became of a publication, as JSON; and the broker's errors as problems.

use std::time::Duration;

use serde::Serialize;
use tavern_backend::Invalid;
use tavern_broker::{Error, Outcome};

use crate::problem::{Kind, Problem};

/// How long to wait before an unavailable backend is worth another try.
const AGAIN: Duration = Duration::from_secs(1);

/// The answer for one message.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(crate) enum Answer {
    Stored {
        id: String,
    },
    Duplicate {
        id: String,
    },
    Live,
    Spooled {
        trying_for_ms: u64,
    },
    Rejected {
        reason: String,
        r#type: String,
        /// Whether the same message may be accepted later.
        retryable: bool,
    },
}

impl Answer {
    pub(crate) fn is_spooled(&self) -> bool {
        matches!(self, Self::Spooled { .. })
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Stored(cursor) => Self::Stored { id: cursor.to_string() },
            Outcome::Duplicate(cursor) => Self::Duplicate { id: cursor.to_string() },
            Outcome::Spooled(ticket) => {
                let left = u64::try_from(ticket.time_left().as_millis()).unwrap_or(u64::MAX);
                Self::Spooled { trying_for_ms: left }
            }
            Outcome::Live => Self::Live,
            other => {
                // Said, never guessed: an outcome that this version has no word for.
                tracing::error!(?other, "an outcome that the HTTP API cannot express");
                Self::Spooled { trying_for_ms: 0 }
            }
        }
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        Self::Rejected {
            r#type: problem.kind.uri(),
            retryable: problem.kind.is_transient(),
            reason: problem.detail,
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let kind = match invalid.what() {
            "topic" | "topic filter" => Kind::InvalidTopic,
            "scope" => Kind::InvalidScope,
            "id" => Kind::InvalidId,
            "event" => Kind::InvalidEvent,
            "data" => Kind::InvalidData,
            "ttl" => Kind::InvalidTtl,
            _ => Kind::InvalidMessage,
        };
        Self::new(kind, invalid.to_string())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(invalid) => invalid.into(),
            Error::TooLarge { .. } => Self::new(Kind::TooLarge, error.to_string()),
            Error::IdConflict(detail) => Self::new(Kind::IdConflict, detail),
            Error::SpoolFull { retry_after, .. } => {
                Self::new(Kind::SpoolFull, error.to_string()).retry_after(retry_after)
            }
            Error::Closed => closing(),
            Error::Backend(error) if error.is_transient() => {
                tracing::warn!(%error, "a publication could not be stored");
                let detail = "the backend cannot be reached, and whether the message was stored is \
                              not known; send it again, with an id so that it is stored once";
                Self::new(Kind::BackendUnavailable, detail).retry_after(AGAIN)
            }
            error => {
                // What an engine says may name paths and hosts: it is for the log only.
                tracing::error!(%error, "a publication failed");
                let detail = "the backend refused for a reason that is not the message's; the \
                              server's log and `/readyz` say why";
                Self::new(Kind::Internal, detail)
            }
        }
    }
}

/// The node takes nothing new.
pub(crate) fn closing() -> Problem {
    let detail = "this node is closing and takes nothing new; send it again, to any node";
    Problem::new(Kind::Closing, detail).retry_after(AGAIN)
}
