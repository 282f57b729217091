//! The lanes as the writer sees them: how much of each is kept, and from where on.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row};
use tavern_backend::{Keep, Lane, LogTime, Scope, Topic};

use crate::failure::Outcome;
use crate::number::{signed, unsigned};

/// `due` of a lane that nothing will happen to by itself.
pub(crate) const NEVER: i64 = i64::MAX;
/// How long a removed entry may still lie in the file, for feeds that have not read it yet.
pub(crate) const GRACE: i64 = 5_000;

/// A row of `lanes`.
///
/// `floor` and `count` are exact by number: entries at or below the floor count as removed, those
/// above it are counted. What is too old is removed by the sweep, and reads leave it out before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaneRow {
    pub(crate) id: i64,
    pub(crate) count: u64,
    pub(crate) floor: u64,
    pub(crate) last_seq: u64,
    pub(crate) last_at: LogTime,
    /// When the sweep looks at it next, in log time: never later than anything in it gets too old.
    pub(crate) due: i64,
}

const COLUMNS: &str = "id, count, floor, last_seq, last_at, due";

impl LaneRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            count: unsigned(row.get(1)?),
            floor: unsigned(row.get(2)?),
            last_seq: unsigned(row.get(3)?),
            last_at: LogTime::from_millis(row.get(4)?),
            due: row.get(5)?,
        })
    }

    pub(crate) fn find(conn: &Connection, lane: &Lane) -> Outcome<Option<Self>> {
        let mut select = conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM lanes WHERE topic = ?1 AND scope = ?2"
        ))?;
        Ok(select.query_row((lane.topic.as_str(), scope_text(lane)), Self::read).optional()?)
    }

    pub(crate) fn insert(conn: &Connection, id: i64, lane: &Lane) -> Outcome<Self> {
        conn.prepare_cached("INSERT INTO lanes VALUES (?1, ?2, ?3, 0, 0, 0, 0, ?4)")?.execute((
            id,
            lane.topic.as_str(),
            scope_text(lane),
            NEVER,
        ))?;
        let last_at = LogTime::default();
        Ok(Self { id, count: 0, floor: 0, last_seq: 0, last_at, due: NEVER })
    }

    pub(crate) fn save(&self, conn: &Connection) -> Outcome<()> {
        conn.prepare_cached(
            "UPDATE lanes SET count = ?2, floor = ?3, last_seq = ?4, last_at = ?5, due = ?6
             WHERE id = ?1",
        )?
        .execute((
            self.id,
            signed(self.count),
            signed(self.floor),
            signed(self.last_seq),
            self.last_at.as_millis(),
            self.due,
        ))?;
        Ok(())
    }

    /// Notes an entry just appended.
    pub(crate) fn append(&mut self, seq: u64, at: LogTime, keep: Keep) {
        if self.count == 0 && !keep.age.is_zero() {
            self.due = self.due.min(at.after(keep.age).as_millis());
        }
        self.count += 1;
        self.last_seq = seq;
        self.last_at = at;
    }

    /// Raises the floor so that no more than `keep` entries are above it.
    pub(crate) fn trim(&mut self, conn: &Connection, keep: Keep, now: LogTime) -> Outcome<()> {
        let excess = self.count.saturating_sub(u64::from(keep.entries));
        if excess == 0 {
            return Ok(());
        }
        self.floor = if excess == self.count {
            self.last_seq
        } else {
            let mut select = conn.prepare_cached(
                // The plus signs: a new value would make SQLite plan the statement anew each time.
                "SELECT seq FROM log WHERE lane = +?1 AND seq > +?2
                 ORDER BY seq LIMIT 1 OFFSET ?3",
            )?;
            let seq = select
                .query_row((self.id, signed(self.floor), signed(excess - 1)), |row| row.get(0));
            unsigned(seq?)
        };
        self.count -= excess;
        self.due = self.due.min(now.as_millis().saturating_add(GRACE));
        Ok(())
    }
}

/// The scope as stored; there is no empty scope, so the empty text stands for none.
pub(crate) fn scope_text(lane: &Lane) -> &str {
    lane.scope.as_ref().map_or("", Scope::as_str)
}

/// A lane from what is stored; `None` if that is damaged.
pub(crate) fn lane(topic: &str, scope: &str) -> Option<Lane> {
    let scope = if scope.is_empty() { None } else { Some(Scope::new(scope).ok()?) };
    Some(Lane { topic: Topic::new(topic).ok()?, scope })
}

/// The names behind the ids in `log`, for a reader: looked up once.
///
/// Ids are never given twice within an epoch, and never renamed; who uses it clears it when the
/// epoch or the file changes.
#[derive(Debug, Default)]
pub(crate) struct LaneNames {
    names: HashMap<i64, Lane>,
}

/// Names remembered at once.
const NAMES: usize = 1 << 18;

impl LaneNames {
    pub(crate) fn clear(&mut self) {
        self.names.clear();
    }

    /// The lane with this id; `None` if it is not there or damaged.
    pub(crate) fn get(&mut self, conn: &Connection, id: i64) -> Outcome<Option<&Lane>> {
        if !self.names.contains_key(&id) {
            if self.names.len() >= NAMES {
                self.names.clear();
            }
            let mut select = conn.prepare_cached("SELECT topic, scope FROM lanes WHERE id = ?1")?;
            let name = select
                .query_row([id], |row| {
                    let (topic, scope) = (row.get_ref(0)?, row.get_ref(1)?);
                    Ok(topic.as_str().ok().zip(scope.as_str().ok()).and_then(|(t, s)| lane(t, s)))
                })
                .optional()?
                .flatten();
            let Some(name) = name else { return Ok(None) };
            self.names.insert(id, name);
        }
        Ok(self.names.get(&id))
    }
}
