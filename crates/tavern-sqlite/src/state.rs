//! The one row that says where the log stands, and the forks behind it.

use rusqlite::{Connection, Row};
use tavern_backend::{Epoch, Fork, Lineage, LogTime, Position};

use crate::failure::Outcome;
use crate::number::{signed, unsigned, wall_clock};

/// The row of `state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) epoch: Epoch,
    /// What the epoch was opened in: see `incarnation.rs`.
    pub(crate) incarnation: String,
    /// The head.
    pub(crate) seq: u64,
    /// When the last entry was appended: the log's clock never runs backwards.
    pub(crate) appended: LogTime,
    pub(crate) horizon: u64,
    /// The last id given in `live`.
    pub(crate) live: u64,
    /// The last id given in `lanes`; ids are never used again within an epoch.
    pub(crate) lanes: i64,
    /// The version of the retention rules.
    pub(crate) retention: u64,
    /// The wire format in use.
    pub(crate) format: u8,
}

impl State {
    pub(crate) fn load(conn: &Connection) -> Outcome<Self> {
        let mut select = conn.prepare_cached(
            "SELECT epoch, incarnation, seq, appended, horizon, live, lanes, retention, format
             FROM state WHERE id = 1",
        )?;
        Ok(select.query_row([], Self::read)?)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            epoch: epoch(row.get(0)?),
            incarnation: row.get(1)?,
            seq: unsigned(row.get(2)?),
            appended: LogTime::from_millis(row.get(3)?),
            horizon: unsigned(row.get(4)?),
            live: unsigned(row.get(5)?),
            lanes: row.get(6)?,
            retention: unsigned(row.get(7)?),
            format: row.get(8)?,
        })
    }

    pub(crate) fn save(&self, conn: &Connection) -> Outcome<()> {
        let mut update = conn.prepare_cached(
            "UPDATE state SET epoch = ?1, incarnation = ?2, seq = ?3, appended = ?4, horizon = ?5,
             live = ?6, lanes = ?7, retention = ?8, format = ?9 WHERE id = 1",
        )?;
        update.execute((
            self.epoch.to_u64().cast_signed(),
            &self.incarnation,
            signed(self.seq),
            self.appended.as_millis(),
            signed(self.horizon),
            signed(self.live),
            self.lanes,
            signed(self.retention),
            self.format,
        ))?;
        Ok(())
    }

    pub(crate) fn position(&self) -> Position {
        Position::new(self.epoch, self.seq)
    }

    /// The log's clock: the wall clock, but never before the last entry.
    pub(crate) fn now(&self) -> LogTime {
        LogTime::from_millis(wall_clock()).max(self.appended)
    }
}

pub(crate) fn epoch(stored: i64) -> Epoch {
    Epoch::from_u64(stored.cast_unsigned())
}

/// Forks remembered; a position of an older epoch counts as unknown, which gives a gap.
const FORKS: u64 = 1000;

/// The epoch and its ancestors.
pub(crate) fn lineage(conn: &Connection, current: Epoch) -> Outcome<Lineage> {
    let mut select = conn
        .prepare_cached("SELECT parent, at, lost_through FROM forks ORDER BY id DESC LIMIT ?1")?;
    let forks = select.query_map([signed(FORKS)], |row| {
        Ok(Fork {
            parent: epoch(row.get(0)?),
            at: unsigned(row.get(1)?),
            lost_through: unsigned(row.get(2)?),
        })
    })?;
    Ok(Lineage { epoch: current, forks: forks.collect::<rusqlite::Result<_>>()? })
}

/// Remembers that `parent` ended at `at`.
pub(crate) fn fork(conn: &Connection, fork: Fork) -> Outcome<()> {
    conn.prepare_cached("INSERT INTO forks (parent, at, lost_through) VALUES (?1, ?2, ?3)")?
        .execute((
            fork.parent.to_u64().cast_signed(),
            signed(fork.at),
            signed(fork.lost_through),
        ))?;
    conn.prepare_cached("DELETE FROM forks WHERE id <= (SELECT max(id) FROM forks) - ?1")?
        .execute([signed(FORKS)])?;
    Ok(())
}

/// Remembers that `known` was given out, if its epoch has ended before it.
pub(crate) fn raise_lost(conn: &Connection, known: Position) -> Outcome<()> {
    conn.prepare_cached(
        "UPDATE forks SET lost_through = ?2 WHERE parent = ?1 AND at < ?2 AND lost_through < ?2",
    )?
    .execute((known.epoch.to_u64().cast_signed(), signed(known.seq)))?;
    Ok(())
}
