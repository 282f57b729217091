//! Stored records as entries.

use std::sync::Arc;

use bytes::Bytes;
use tavern_backend::{Entry, Lane, LogTime, Position, wire};

/// An entry, or why it is none.
pub(crate) enum Read {
    Entry(Arc<Entry>),
    Undecodable(Option<Lane>, String),
}

#[expect(clippy::needless_pass_by_value, reason = "the payload shares the record's memory")]
pub(crate) fn read(position: Position, appended: LogTime, record: Bytes) -> Read {
    match wire::decode(record.clone()) {
        Ok(record) => Read::Entry(Arc::new(Entry { position, appended, record })),
        Err(error) => Read::Undecodable(wire::lane(&record), error.to_string()),
    }
}
