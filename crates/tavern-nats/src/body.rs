//! The body of a stored message: when it was appended and in which epoch its publisher saw the log,
//! then the record.
//!
//! ```text
//! body = version time epoch record     version: 1 byte, 1; time: 8 bytes, big-endian, milliseconds
//!                                       on the log's clock; epoch: 8 bytes, big-endian
//! ```
//!
//! The time is the publisher's reading of the server's clock. The server's own stamp is not used,
//! because NATS 2.9 does not republish it, and an entry must say the same pushed or read.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tavern_backend::{Entry, Epoch, FeedEvent, Lane, LogTime, Position, Record, wire};

const VERSION: u8 = 1;
/// Bytes before the record.
pub(crate) const PREFIX: usize = 17;

#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) appended: LogTime,
    /// The epoch of the log as the publisher knew it.
    pub(crate) epoch: Epoch,
    record: Bytes,
}

pub(crate) fn encode(appended: LogTime, epoch: Epoch, record: &Record) -> Bytes {
    let record = wire::encode(record);
    let mut body = BytesMut::with_capacity(PREFIX + record.len());
    body.put_u8(VERSION);
    body.put_i64(appended.as_millis());
    body.put_u64(epoch.to_u64());
    body.put(record);
    body.freeze()
}

impl Body {
    /// Takes a body apart; nothing of the record is copied.
    pub(crate) fn parse(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < PREFIX || bytes.get_u8() != VERSION {
            return None;
        }
        let appended = LogTime::from_millis(bytes.get_i64());
        let epoch = Epoch::from_u64(bytes.get_u64());
        Some(Self { appended, epoch, record: bytes })
    }

    pub(crate) fn record(&self) -> Result<Record, wire::DecodeError> {
        wire::decode(self.record.clone())
    }
}

/// An entry, or why it is none.
pub(crate) fn event(position: Position, lane: Option<&Lane>, body: Bytes) -> FeedEvent {
    let reason = match Body::parse(body) {
        None => "it is not a message of Tavern's, or of a newer version's".to_owned(),
        Some(body) => match body.record() {
            Ok(record) => {
                let appended = body.appended;
                return FeedEvent::Entry(Arc::new(Entry { position, appended, record }));
            }
            Err(error) => error.to_string(),
        },
    };
    FeedEvent::Undecodable { position, lane: lane.cloned(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
