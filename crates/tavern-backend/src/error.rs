//! What can go wrong, sorted by what the caller can do about it.

use std::fmt;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A cause kept for the log: boxed, so that no driver's error type reaches the API.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A value that was refused at the door: which value, and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what}: {reason}")]
pub struct Invalid {
    what: &'static str,
    reason: String,
}

impl Invalid {
    /// Says that `what` (for example `"topic"`) is refused, and which rule it breaks.
    pub fn new(what: &'static str, reason: impl Into<String>) -> Self {
        Self { what, reason: reason.into() }
    }

    /// The kind of value that was refused: `"topic"`, `"scope"`, `"id"`, …
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// The rule that was broken, as a sentence without its full stop.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<std::convert::Infallible> for Invalid {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Why a backend could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's input is refused; sending it again will not help.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The message is larger than the backend carries; sending it again will not help.
    #[error("the message has {size} bytes, {max} at most are accepted")]
    TooLarge {
        /// Bytes the message would take.
        size: usize,
        /// The limit it exceeds, in bytes.
        max: usize,
    },
    /// Nothing was done; the backend cannot be reached or refuses for now. Worth trying again.
    #[error("the backend is unavailable: {reason}")]
    Unavailable {
        /// What is wrong, for a person.
        reason: String,
        /// The driver's error, if there is one.
        #[source]
        source: Option<Cause>,
    },
    /// It may or may not have been done: the answer was lost. Settle by sending the same keys again.
    #[error("the outcome is unknown: {reason}")]
    OutcomeUnknown {
        /// What is wrong, for a person.
        reason: String,
        /// The driver's error, if there is one.
        #[source]
        source: Option<Cause>,
    },
    /// What lies in the engine was written by a version, or under rules, that this one cannot work with.
    #[error("the backend is not usable: {reason}")]
    Incompatible {
        /// What is wrong and what to do about it.
        reason: String,
    },
    /// The connection URL or the configuration is wrong.
    #[error("the configuration is wrong: {reason}")]
    Config {
        /// What is wrong and what would be right; never a secret.
        reason: String,
    },
    /// The one feed of this node was taken before.
    #[error("the feed of this node is already taken; a node has one reader")]
    FeedTaken,
    /// The backend was closed by this process.
    #[error("the backend is closed")]
    Closed,
}

impl Error {
    /// The backend is away, nothing was done.
    pub fn unavailable(reason: impl fmt::Display) -> Self {
        Self::Unavailable { reason: reason.to_string(), source: None }
    }

    /// The backend is away because of `source`, nothing was done.
    pub fn unavailable_from(reason: impl fmt::Display, source: impl Into<Cause>) -> Self {
        Self::Unavailable { reason: reason.to_string(), source: Some(source.into()) }
    }

    /// The answer was lost.
    pub fn outcome_unknown(reason: impl fmt::Display) -> Self {
        Self::OutcomeUnknown { reason: reason.to_string(), source: None }
    }

    /// The answer was lost because of `source`.
    pub fn outcome_unknown_from(reason: impl fmt::Display, source: impl Into<Cause>) -> Self {
        Self::OutcomeUnknown { reason: reason.to_string(), source: Some(source.into()) }
    }

    /// What is stored cannot be worked with.
    pub fn incompatible(reason: impl fmt::Display) -> Self {
        Self::Incompatible { reason: reason.to_string() }
    }

    /// The configuration is wrong.
    pub fn config(reason: impl fmt::Display) -> Self {
        Self::Config { reason: reason.to_string() }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::OutcomeUnknown { .. })
    }
}
