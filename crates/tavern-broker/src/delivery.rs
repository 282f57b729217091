//! What a subscription yields.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tavern_backend::{Cursor, EventName, MessageEnvelope, MessageId, Payload, Scope, Topic};

use crate::frame::Frame;

/// Something for the client: a message, or a control event that a publisher cannot imitate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// A message.
    Message(Message),
    /// The position moved and no message carried it: the opening cursor.
    Cursor(Cursor),
    /// What the application's snapshot callback returned for a topic. It has no id.
    Snapshot(Snapshot),
    /// What the application sent to this stream alone. It has no id.
    Direct(Direct),
    /// Entries are missing here.
    Gap(Gap),
    /// The replay was over the configured maximum; its oldest part was left out.
    Truncated(Truncated),
    /// The replay of a resumed connection ends here.
    Reconnected(Reconnected),
    /// The backend went away; the stream goes on.
    Degraded(Degraded),
    /// The backend is back; nothing that history still has was lost.
    Recovered(Degraded),
    /// The broker is closing: come back after this time. The stream ends.
    Closing(Duration),
}

impl Delivery {
    /// The event as it goes over the wire. Messages were encoded when they arrived; this clones a
    /// reference.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        crate::encode::delivery(self)
    }

    /// The cursor that the client keeps after this event, if it carries one.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        match self {
            Self::Message(message) => message.cursor(),
            Self::Cursor(cursor) => Some(*cursor),
            Self::Reconnected(reconnected) => Some(reconnected.cursor),
            Self::Snapshot(_)
            | Self::Direct(_)
            | Self::Gap(_)
            | Self::Truncated(_)
            | Self::Degraded(_)
            | Self::Recovered(_)
            | Self::Closing(_) => None,
        }
    }
}

/// A message, shared by all who get it.
#[derive(Debug, Clone)]
pub struct Message(pub(crate) Arc<Frame>);

impl Message {
    /// Where it was published.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.0.envelope.topic
    }

    /// What it says.
    #[must_use]
    pub fn data(&self) -> &Payload {
        &self.0.envelope.data
    }

    /// Its event name, if the publisher gave one.
    #[must_use]
    pub fn event(&self) -> Option<&EventName> {
        self.0.envelope.event.as_ref()
    }

    /// Its id, if the publisher gave one.
    #[must_use]
    pub fn id(&self) -> Option<&MessageId> {
        self.0.envelope.id.as_ref()
    }

    /// Its scope.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.0.envelope.scope.as_ref()
    }

    /// Everything that was published.
    #[must_use]
    pub fn envelope(&self) -> &MessageEnvelope {
        &self.0.envelope
    }

    /// Where it stands in the log; `None` for a live topic.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.0.position.map(Cursor)
    }

    /// The SSE frame, encoded once for all subscribers.
    #[must_use]
    pub fn encoded(&self) -> &Bytes {
        &self.0.encoded
    }
}

/// What the application's snapshot callback returned.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The topic it stands for.
    pub topic: Topic,
    /// The state, as data.
    pub data: Payload,
    /// The event name, if any.
    pub event: Option<EventName>,
}

/// What the application sent to one stream alone: see
/// [`StreamHandle::send`](crate::StreamHandle::send).
#[derive(Debug, Clone)]
pub struct Direct {
    /// What it says.
    pub data: Payload,
    /// The event name, if any.
    pub event: Option<EventName>,
}

/// Why entries are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GapReason {
    /// History no longer has them.
    Trimmed,
    /// The `Last-Event-ID` is not a cursor, and no id that the topic remembers.
    UnknownId,
    /// The log lost its tail, or is another one.
    Epoch,
    /// The backend was away and they cannot be read, or a spooled message was discarded.
    Outage,
    /// The client was so slow that they left the ring, and history no longer has them.
    Slow,
    /// The stream follows live topics, which cannot be resumed.
    Live,
    /// They were written by a version that this one cannot read.
    Format,
}

impl GapReason {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::UnknownId => "unknown-id",
            Self::Epoch => "epoch",
            Self::Outage => "outage",
            Self::Slow => "slow",
            Self::Live => "live",
            Self::Format => "format",
        }
    }
}

/// Entries are missing here: told in place, before what comes after them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// Where the client stood: its `Last-Event-ID` at a resume, else its cursor.
    pub last_event_id: String,
    /// The topics that are concerned. Where that cannot be told, or where they are more than 64:
    /// those of the stream's filters that match them.
    pub topics: Vec<String>,
}

/// A replay that was cut to the configured maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Truncated {
    /// Messages delivered: the newest.
    pub delivered: u64,
    /// Messages left out: the oldest.
    pub dropped: u64,
}

/// The end of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnected {
    /// Messages replayed.
    pub delivered: u64,
    /// Messages left out by the configured maximum.
    pub dropped: u64,
    /// Whether nothing is missing: no gap, or each bridged by a snapshot.
    pub complete: bool,
    /// How long ago, on the log's clock, the first of the messages that history still had was
    /// stored; `None` if there was none. The client was away for at least as long. (For how long
    /// exactly is not known: a cursor carries no time, and what it points at may be gone, or be
    /// nothing that this client may see.)
    pub behind: Option<Duration>,
    /// The position that ends the replay, and any gap with it.
    pub cursor: Cursor,
}

impl Reconnected {
    /// Messages that history still had for the client: delivered or left out.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.delivered.saturating_add(self.dropped)
    }
}

/// The backend's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// The backend's name.
    pub backend: &'static str,
    /// For how long it is (was) away.
    pub since: Duration,
}
