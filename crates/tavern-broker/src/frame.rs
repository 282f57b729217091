//! A message as it lies in the ring: encoded once, shared by all who get it.

use tavern_backend::{Cursor, Entry, LogTime, MessageEnvelope, MessageId, Payload, Position};
use tavern_sse::FieldValue;

/// A message and its encoded form.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) envelope: MessageEnvelope,
    /// `None` for a live message.
    pub(crate) position: Option<Position>,
    /// When it was stored; of a live message, the clock's zero.
    pub(crate) appended: LogTime,
    pub(crate) expires: Option<LogTime>,
    pub(crate) encoded: bytes::Bytes,
}

/// What a frame and its place in the ring's indexes cost beyond its bytes.
const OVERHEAD: usize = std::mem::size_of::<Frame>() + 64;

impl Frame {
    pub(crate) fn entry(entry: &Entry) -> Self {
        Self::new(entry.envelope().clone(), Some((entry.position, entry.appended)), entry.expires())
    }

    /// A live message; `expires` counts from its arrival here, as it has no time of its own.
    pub(crate) fn live(envelope: MessageEnvelope, expires: Option<LogTime>) -> Self {
        Self::new(envelope, None, expires)
    }

    #[cfg(test)]
    pub(crate) fn for_test(envelope: MessageEnvelope, position: Option<Position>) -> Self {
        Self::new(envelope, position.map(|position| (position, LogTime::default())), None)
    }

    fn new(
        mut envelope: MessageEnvelope,
        stored: Option<(Position, LogTime)>,
        expires: Option<LogTime>,
    ) -> Self {
        let (position, appended) = stored.unzip();
        let appended = appended.unwrap_or_default();
        let id = position.map(|position| event_id(position, envelope.id.as_ref()));
        // Neither can fail: cursors and validated ids and names hold no CR, LF or NUL.
        let frame = tavern_sse::Frame {
            id: id.as_deref().and_then(|id| FieldValue::new(id).ok()),
            event: envelope.event.as_ref().and_then(|name| FieldValue::new(name.as_str()).ok()),
            data: Some(envelope.data.as_str()),
            ..Default::default()
        };
        let encoded = frame.encode();
        // A single line lies in the frame as it is: keep it once.
        if let Some(range) = encoded.data
            && let Ok(data) = Payload::from_utf8(encoded.bytes.slice(range))
        {
            envelope.data = data;
        }
        Self { envelope, position, appended, expires, encoded: encoded.bytes }
    }

    /// Bytes it takes in the ring.
    pub(crate) fn weight(&self) -> usize {
        let data = if self.envelope.data.as_str().contains(['\r', '\n']) {
            self.envelope.data.len()
        } else {
            0
        };
        OVERHEAD + self.encoded.len() + data
    }
}

/// `<cursor>` or `<cursor>~<publisher's id>`.
fn event_id(position: Position, id: Option<&MessageId>) -> String {
    match id {
        Some(id) => format!("{}~{id}", Cursor(position)),
        None => Cursor(position).to_string(),
    }
}
