//! The form in which an engine stores a [`Record`]: versioned bytes that outlive a release.
//!
//! ```text
//! record = format field*                      format: 1 byte, 1 is written, 1 and 2 are read
//! field  = tag length value                   tag, length: varint; value: `length` bytes
//! varint = 7 bits a byte, lowest first, the high bit set on all but the last; shortest form only
//!
//! tag  value                                                            present
//!   1  origin: node, counter; 8 bytes each, big-endian                  always
//!   2  waited between acceptance and append, whole milliseconds, varint unless 0
//!   3  topic                                                            always
//!   5  scope                                                            if there is one
//!   7  the publisher's id                                               if there is one
//!   9  event name                                                       if there is one
//!  11  ttl, whole milliseconds from 1, varint                           if there is one
//!  13  data, UTF-8                                                      always, also if empty
//! ```
//!
//! Tags rise strictly, and everything has one form only: equal records are equal bytes.
//!
//! **Versions.** Each release reads the format one newer than the one it writes, so that nodes can
//! be updated one after the other. A newer writer may add fields. An *even* tag a reader does not
//! know is harmless and ignored; an *odd* one changes what the message means, and a reader that
//! does not know it must not deliver the entry: it is undecodable for that reader, see
//! [`DecodeError::is_newer`]. Every format below 128 keeps the framing and the tags 3 and 5, so that
//! [`lane`] can tell the lane of an entry that is not to be read.
//!
//! **Bounds.** Names are bounded by [`MAX_NAME`](crate::MAX_NAME); nothing is allocated on the
//! strength of a claimed length, and decoded data shares the input's memory.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{EventName, Invalid, Lane, MessageEnvelope, MessageId, NodeId, Origin, Payload};
use crate::{Record, Scope, Topic};

mod fields;

use fields::{Field, Fields, field_len, put_field, put_varint, read_varint, varint_len};

/// The format that [`encode`] writes.
pub const WRITES: u8 = 1;
/// The newest format that [`decode`] reads.
pub const READS: u8 = 2;
/// The first format that may frame its fields in another way.
const REFRAMED: u8 = 128;

const ORIGIN: u64 = 1;
const WAITED: u64 = 2;
const TOPIC: u64 = 3;
const SCOPE: u64 = 5;
const ID: u64 = 7;
const EVENT: u64 = 9;
const TTL: u64 = 11;
const DATA: u64 = 13;

/// Why bytes are not a record this version can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It was written in a format this version does not read.
    #[error("the format {found} is not one that this version reads (1 to {READS})")]
    Format {
        /// The format it says it has.
        found: u8,
    },
    /// It has a field that must be understood and is not.
    #[error("the field {tag} is unknown and must not be ignored")]
    Critical {
        /// The field's tag.
        tag: u64,
    },
    /// It ends in the middle of a field, or before the first.
    #[error("it ends early")]
    Truncated,
    /// It is not in the one form there is.
    #[error("it is malformed: {reason}")]
    Malformed {
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A value is against the rules of the contract.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl DecodeError {
    /// Whether a newer version wrote it on purpose, rather than that it is damaged.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        match self {
            Self::Format { found } => *found > READS,
            Self::Critical { .. } => true,
            Self::Truncated | Self::Malformed { .. } | Self::Invalid(_) => false,
        }
    }
}

/// Encodes `record` in the format [`WRITES`].
///
/// Durations have whole milliseconds: `waited` is rounded down, a TTL up.
#[must_use]
pub fn encode(record: &Record) -> Bytes {
    let envelope = &record.envelope;
    let waited = u64::try_from(record.waited.as_millis()).unwrap_or(u64::MAX);
    let ttl = envelope.ttl_millis();
    let scope = envelope.scope.as_ref().map(Scope::as_str);
    let id = envelope.id.as_ref().map(MessageId::as_str);
    let event = envelope.event.as_ref().map(EventName::as_str);
    let texts = [(SCOPE, scope), (ID, id), (EVENT, event)];
    // Tags and lengths of what is not data take at most two bytes each, numbers at most twelve.
    let names = texts.iter().filter_map(|(_, text)| text.map(|t| t.len() + 3)).sum::<usize>();
    let data = field_len(DATA, envelope.data.len());
    let mut out = BytesMut::with_capacity(
        1 + 18 + 12 + 3 + envelope.topic.as_str().len() + names + 12 + data,
    );

    out.put_u8(WRITES);
    put_varint(&mut out, ORIGIN);
    put_varint(&mut out, 16);
    out.put_u64(record.origin.node.to_u64());
    out.put_u64(record.origin.counter);
    if waited > 0 {
        put_number(&mut out, WAITED, waited);
    }
    put_field(&mut out, TOPIC, envelope.topic.as_str().as_bytes());
    for (tag, text) in texts {
        if let Some(text) = text {
            put_field(&mut out, tag, text.as_bytes());
        }
    }
    if let Some(ttl) = ttl {
        put_number(&mut out, TTL, ttl);
    }
    put_field(&mut out, DATA, envelope.data.as_bytes());
    out.freeze()
}

/// Decodes a record; its data is a slice of `bytes`, nothing of it is copied.
///
/// # Errors
///
/// [`DecodeError`], whatever the bytes are; it never panics.
#[expect(clippy::needless_pass_by_value, reason = "the payload shares the input")]
pub fn decode(bytes: Bytes) -> Result<Record, DecodeError> {
    let format = *bytes.first().ok_or(DecodeError::Truncated)?;
    if format == 0 || format > READS {
        return Err(DecodeError::Format { found: format });
    }
    let (mut origin, mut waited, mut ttl) = (None, Duration::ZERO, None);
    let (mut topic, mut scope, mut id, mut event, mut data) = (None, None, None, None, None);
    for field in Fields::new(&bytes) {
        let Field { tag, value, at } = field?;
        match tag {
            ORIGIN => origin = Some(read_origin(value)?),
            WAITED => waited = read_millis(value)?,
            TOPIC => topic = Some(Topic::new(text(value, "topic")?)?),
            SCOPE => scope = Some(Scope::new(text(value, "scope")?)?),
            ID => id = Some(MessageId::new(text(value, "id")?)?),
            EVENT => event = Some(EventName::new(text(value, "event")?)?),
            TTL => ttl = Some(read_millis(value)?),
            DATA => data = Some(Payload::from_utf8(bytes.slice(at..at + value.len()))?),
            tag if tag % 2 == 1 => return Err(DecodeError::Critical { tag }),
            _ => {}
        }
    }
    let envelope = MessageEnvelope {
        topic: topic.ok_or(DecodeError::Malformed { reason: "it has no topic" })?,
        data: data.ok_or(DecodeError::Malformed { reason: "it has no data" })?,
        scope,
        ttl,
        id,
        event,
    };
    let origin = origin.ok_or(DecodeError::Malformed { reason: "it has no origin" })?;
    Ok(Record { origin, waited, envelope })
}

/// The lane of an entry that [`decode`] refuses, where that much can be told.
#[must_use]
pub fn lane(bytes: &[u8]) -> Option<Lane> {
    let format = *bytes.first()?;
    if format == 0 || format >= REFRAMED {
        return None;
    }
    let (mut topic, mut scope) = (None, None);
    for field in Fields::new(bytes) {
        // Damage behind these two could be damage before them as well: all must be sound.
        let Field { tag, value, .. } = field.ok()?;
        match tag {
            TOPIC => topic = Some(Topic::new(text(value, "topic").ok()?).ok()?),
            SCOPE => scope = Some(Scope::new(text(value, "scope").ok()?).ok()?),
            _ => {}
        }
    }
    Some(Lane { topic: topic?, scope })
}

fn put_number(out: &mut BytesMut, tag: u64, number: u64) {
    put_varint(out, tag);
    put_varint(out, u64::try_from(varint_len(number)).unwrap_or(u64::MAX));
    put_varint(out, number);
}

fn read_millis(value: &[u8]) -> Result<Duration, DecodeError> {
    match read_varint(value)? {
        (0, _) => Err(DecodeError::Malformed { reason: "a duration of zero is left out" }),
        (millis, []) => Ok(Duration::from_millis(millis)),
        _ => Err(DecodeError::Malformed { reason: "a number is longer than its digits" }),
    }
}

fn read_origin(value: &[u8]) -> Result<Origin, DecodeError> {
    let both = <[u8; 16]>::try_from(value)
        .map_err(|_| DecodeError::Malformed { reason: "an origin has 16 bytes" })?;
    let [node, counter] = [&both[..8], &both[8..]]
        .map(|half| half.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)));
    Ok(Origin { node: NodeId::from_u64(node), counter })
}

fn text<'a>(value: &'a [u8], what: &'static str) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(value).map_err(|_| Invalid::new(what, "it is not UTF-8").into())
}

#[cfg(test)]
mod tests;
