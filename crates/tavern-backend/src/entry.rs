//! What the log holds: entries, the lanes they lie in, and the keys that make them unique.

use std::time::Duration;

use tokio::time::Instant;

use crate::{MessageEnvelope, NodeId, Position, Scope, Topic};

/// The internal key of a publication: which node accepted it, and its count there.
///
/// It is given when a publication is accepted and stays with it through every attempt to store it,
/// so that the log can tell a retry from a new message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The node that accepted the publication.
    pub node: NodeId,
    /// The node's own count of publications, from 1.
    pub counter: u64,
}

/// A point in time on the log's clock: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogTime(i64);

impl LogTime {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The time `later`, as far as the clock goes.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time `earlier`, as far as the clock goes.
    #[must_use]
    pub fn before(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(earlier.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// The unit of retention, of floors and of gaps: a topic within a scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// The topic.
    pub topic: Topic,
    /// The scope, or `None` for what everybody may see.
    pub scope: Option<Scope>,
}

/// What is handed to a backend to append: an envelope, its key, and when it was accepted.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The internal key; the same at every attempt.
    pub key: Origin,
    /// The message.
    pub envelope: MessageEnvelope,
    /// When this process accepted it. A TTL counts from here: the backend stores how long the
    /// publication has waited, measured at the append.
    pub accepted: Instant,
}

impl Publication {
    /// What is stored of it, if it is appended `now`.
    #[must_use]
    pub fn into_record(self, now: Instant) -> Record {
        let waited = now.saturating_duration_since(self.accepted);
        Record { origin: self.key, waited, envelope: self.envelope }
    }
}

/// What an engine stores of a publication, in the form of [`wire`](crate::wire).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The internal key.
    pub origin: Origin,
    /// How long it waited between acceptance and append, in whole milliseconds on the wire.
    pub waited: Duration,
    /// The message.
    pub envelope: MessageEnvelope,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// When it was appended, on the log's clock; never earlier than the entry before it.
    pub appended: LogTime,
    /// What was stored.
    pub record: Record,
}

impl Entry {
    /// The message.
    #[must_use]
    pub fn envelope(&self) -> &MessageEnvelope {
        &self.record.envelope
    }

    /// When the publication was accepted, on the log's clock.
    #[must_use]
    pub fn accepted(&self) -> LogTime {
        self.appended.before(self.record.waited)
    }

    /// When the message expires, on the log's clock; `None` if never.
    #[must_use]
    pub fn expires(&self) -> Option<LogTime> {
        self.envelope().ttl.map(|ttl| self.accepted().after(ttl))
    }

    /// The lane it lies in.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.envelope().lane()
    }
}
