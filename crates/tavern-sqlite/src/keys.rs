//! Which publications the log has seen: the keys of de-duplication.
//!
//! A node counts its publications, so their keys come in runs. 64 of them share a row, which makes
//! the memory of ten minutes at full speed eight bytes a publication and one row a transaction.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};
use tavern_backend::{LogTime, Origin};

use crate::failure::Outcome;
use crate::number::{signed, unsigned};

/// Counters in a chunk, as a power of two.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;

/// What the log knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The entry has this seq.
    At(u64),
    /// It was a live message.
    Live,
}

/// The chunks that a transaction touches.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    chunks: HashMap<(u64, u64), Chunk>,
}

#[derive(Debug)]
struct Chunk {
    slots: [i64; SLOTS],
    changed: bool,
}

const ABSENT: i64 = 0;
const LIVE: i64 = -1;

impl Keys {
    pub(crate) fn find(&mut self, conn: &Connection, key: Origin) -> Outcome<Option<Seen>> {
        let (chunk, slot) = self.slot(conn, key)?;
        Ok(match chunk.slots[slot] {
            ABSENT => None,
            LIVE => Some(Seen::Live),
            seq => Some(Seen::At(unsigned(seq))),
        })
    }

    pub(crate) fn add(&mut self, conn: &Connection, key: Origin, seen: Seen) -> Outcome<()> {
        let (chunk, slot) = self.slot(conn, key)?;
        chunk.slots[slot] = match seen {
            Seen::At(seq) => signed(seq),
            Seen::Live => LIVE,
        };
        chunk.changed = true;
        Ok(())
    }

    fn slot(&mut self, conn: &Connection, key: Origin) -> Outcome<(&mut Chunk, usize)> {
        use std::collections::hash_map::Entry::{Occupied, Vacant};
        let number = key.counter >> BITS;
        let slot = usize::try_from(key.counter & ((1 << BITS) - 1)).unwrap_or(0);
        let chunk = match self.chunks.entry((key.node.to_u64(), number)) {
            Occupied(entry) => entry.into_mut(),
            Vacant(entry) => entry.insert(Chunk::load(conn, key.node.to_u64(), number)?),
        };
        Ok((chunk, slot))
    }

    pub(crate) fn save(&self, conn: &Connection, now: LogTime) -> Outcome<()> {
        let mut upsert = conn.prepare_cached(
            "INSERT INTO keys (node, chunk, at, seqs) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (node, chunk) DO UPDATE SET at = ?3, seqs = ?4",
        )?;
        for ((node, number), chunk) in self.chunks.iter().filter(|(_, chunk)| chunk.changed) {
            let mut seqs = [0; SLOTS * 8];
            for (bytes, slot) in seqs.chunks_exact_mut(8).zip(chunk.slots) {
                bytes.copy_from_slice(&slot.to_be_bytes());
            }
            upsert.execute((node.cast_signed(), signed(*number), now.as_millis(), &seqs[..]))?;
        }
        Ok(())
    }
}

impl Chunk {
    fn load(conn: &Connection, node: u64, number: u64) -> Outcome<Self> {
        let mut slots = [ABSENT; SLOTS];
        let mut select =
            conn.prepare_cached("SELECT seqs FROM keys WHERE node = ?1 AND chunk = ?2")?;
        let stored: Option<Vec<u8>> =
            select.query_row((node.cast_signed(), signed(number)), |row| row.get(0)).optional()?;
        if let Some(stored) = stored {
            for (slot, bytes) in slots.iter_mut().zip(stored.chunks_exact(8)) {
                *slot = i64::from_be_bytes(bytes.try_into().unwrap_or_default());
            }
        }
        Ok(Self { slots, changed: false })
    }
}

/// Forgets up to `limit` chunks that nothing was added to since `before`.
pub(crate) fn forget(conn: &Connection, before: LogTime, limit: u64) -> Outcome<usize> {
    let mut delete = conn.prepare_cached(
        "DELETE FROM keys WHERE rowid IN (SELECT rowid FROM keys WHERE at < ?1 ORDER BY at LIMIT ?2)",
    )?;
    Ok(delete.execute((before.as_millis(), signed(limit)))?)
}
