//! What a broker's caller can be told.

use std::time::Duration;

use tavern_backend::Invalid;

/// The result of the fallible calls of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the broker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's input is refused; sending it again will not help.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The message is larger than the backend carries; sending it again will not help.
    #[error("the message has {size} bytes, {max} at most are accepted")]
    TooLarge {
        /// Bytes of data.
        size: usize,
        /// The limit it exceeds.
        max: usize,
    },
    /// The id was given to another message of the same topic and scope; sending it again will not
    /// help.
    #[error("{0}")]
    IdConflict(String),
    /// The backend is away and the spool is full; nothing was accepted. Try again after the time.
    #[error("the backend is away and the spool is full ({reason}); try again later")]
    SpoolFull {
        /// Which of the spool's bounds was reached.
        reason: &'static str,
        /// When it may be worth trying again.
        retry_after: Duration,
    },
    /// The stream that this was meant for is gone; nothing was sent.
    #[error("the stream has ended")]
    StreamEnded,
    /// The stream's client does not take what waits for it already; nothing was sent. Try again
    /// later.
    #[error("too much waits for this stream already; try again later")]
    StreamBusy,
    /// The backend refused for a reason that sending it again will not change.
    #[error(transparent)]
    Backend(tavern_backend::Error),
    /// The broker is closed, or closing.
    #[error("the broker is closed")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::SpoolFull { .. } | Self::StreamBusy => true,
            Self::Backend(error) => error.is_transient(),
            Self::Invalid(_)
            | Self::TooLarge { .. }
            | Self::IdConflict(_)
            | Self::StreamEnded
            | Self::Closed => false,
        }
    }
}

impl From<tavern_backend::Error> for Error {
    fn from(error: tavern_backend::Error) -> Self {
        match error {
            tavern_backend::Error::Invalid(invalid) => Self::Invalid(invalid),
            tavern_backend::Error::TooLarge { size, max } => Self::TooLarge { size, max },
            tavern_backend::Error::Closed => Self::Closed,
            other => Self::Backend(other),
        }
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
