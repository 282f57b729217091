//! Rows of the log on their way out: which there are, and what is in those that are wanted.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tavern_backend::{Entry, Lane, LogTime, Position, wire};

use crate::failure::Outcome;
use crate::number::{signed, unsigned};

/// A row of the log, without its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) seq: u64,
    pub(crate) lane: i64,
}

/// The first rows above `after`, up to `to`. Bodies are not read, however large they are.
pub(crate) fn list(conn: &Connection, after: u64, to: u64, limit: usize) -> Outcome<Vec<Found>> {
    let mut select = conn.prepare_cached(
        "SELECT seq, lane FROM log WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = select.query_map((signed(after), signed(to), limit), |row| {
        // A damaged lane id leads to no lane, and so to an entry that cannot be read.
        Ok(Found { seq: unsigned(row.get(0)?), lane: integer(row.get_ref(1)?).unwrap_or(i64::MIN) })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What became of a body.
pub(crate) type Read = std::result::Result<Arc<Entry>, Arc<str>>;

/// Reads rows `from..=to`, which the caller has listed; `each` gets the seq, the size and what was
/// read, and says whether to go on.
pub(crate) fn fetch(
    conn: &Connection,
    at: Position,
    to: u64,
    mut lane: impl FnMut(u64) -> Option<Lane>,
    mut each: impl FnMut(u64, usize, Read) -> bool,
) -> Outcome<()> {
    let mut select = conn.prepare_cached(
        "SELECT seq, appended, body FROM log WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq",
    )?;
    let mut rows = select.query((signed(at.seq), signed(to)))?;
    while let Some(row) = rows.next()? {
        let seq = unsigned(row.get(0)?);
        let (appended, body) = (integer(row.get_ref(1)?), row.get_ref(2)?);
        let (size, read) = match (appended, body) {
            (Some(appended), ValueRef::Blob(body)) => {
                let position = Position::new(at.epoch, seq);
                let appended = LogTime::from_millis(appended);
                (body.len(), decode(position, appended, lane(seq), body))
            }
            _ => (0, Err(Arc::from("the row is damaged"))),
        };
        if !each(seq, size, read) {
            break;
        }
    }
    Ok(())
}

fn decode(position: Position, appended: LogTime, lane: Option<Lane>, body: &[u8]) -> Read {
    let record = wire::decode(Bytes::copy_from_slice(body))
        .map_err(|error| Arc::<str>::from(error.to_string()))?;
    let envelope = &record.envelope;
    match lane {
        Some(lane) if lane.topic == envelope.topic && lane.scope == envelope.scope => {
            Ok(Arc::new(Entry { position, appended, record }))
        }
        // A scope is a wall: what is filed under one lane and says it is of another goes to nobody.
        _ => Err(Arc::from("it is not of the lane it is filed under")),
    }
}

fn integer(value: ValueRef<'_>) -> Option<i64> {
    value.as_i64().ok()
}
