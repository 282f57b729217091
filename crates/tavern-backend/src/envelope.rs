//! What is published: the message and everything that travels with it.

use std::time::Duration;

use crate::{EventName, Lane, MessageId, Payload, Scope, Topic};

mod json;

/// A message and what travels with it.
///
/// Its JSON form is `topic,data,scope?,ttl?,id?,event?` in this order, empty fields left out, `ttl`
/// in milliseconds from 1 (0 is none); unknown fields are ignored on input. An empty scope is
/// refused: it is never a broadcast. Any serde format works; [`to_json`](Self::to_json) writes the
/// bytes that Go's `encoding/json` writes of the same envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageEnvelope {
    /// Where it goes.
    pub topic: Topic,
    /// What it says.
    pub data: Payload,
    /// Who may see it; `None` for everybody who is unscoped.
    pub scope: Option<Scope>,
    /// How long it is worth delivering, counted from its acceptance; `None` for ever. Stored and
    /// sent in whole milliseconds, rounded up, at least 1.
    pub ttl: Option<Duration>,
    /// The publisher's own id, unique per lane.
    pub id: Option<MessageId>,
    /// The SSE event name; `None` for the browser's default, `message`.
    pub event: Option<EventName>,
}

impl MessageEnvelope {
    /// A message for everybody who is unscoped, without expiry, id or event name.
    #[must_use]
    pub fn new(topic: Topic, data: impl Into<Payload>) -> Self {
        Self { topic, data: data.into(), scope: None, ttl: None, id: None, event: None }
    }

    /// The lane it goes to.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane { topic: self.topic.clone(), scope: self.scope.clone() }
    }

    /// What makes two messages with the same id the same message: their data and event name, as the
    /// length of the data and FNV-1a (64 bits) of both. Engines store it, so it never changes.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let event = self.event.as_ref().map_or("", |event| event.as_str());
        let hash = |bytes: &[u8]| {
            bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
            })
        };
        let data = self.data.as_bytes();
        format!("{:x}-{:x}-{:x}", data.len(), hash(data), hash(event.as_bytes()))
    }

    /// The TTL as it is stored. A TTL under a millisecond must not become 0, which means none.
    pub(crate) fn ttl_millis(&self) -> Option<u64> {
        let millis = |ttl: Duration| ttl.as_nanos().div_ceil(1_000_000).max(1);
        self.ttl.map(|ttl| u64::try_from(millis(ttl)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
