//! Pages of history, with the floors that apply, in one snapshot each.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Rows};
use tavern_backend::{Floor, Keep, Lane, LogTime, Page, Position, ReadQuery, Retention};

use crate::failure::Outcome;
use crate::lanes::{LaneNames, lane};
use crate::number::{signed, unsigned};
use crate::rows;
use crate::state::State;

/// Rows looked at for one page, from which on it ends early.
const SCAN: usize = 8192;
/// Bytes of bodies in one page, from which on it ends early.
const BYTES: usize = 8 << 20;
/// Floors named in one page of a query without filters.
const FLOORS: usize = 4096;
/// Topics of a query whose lanes are looked up one by one.
const TOPICS: usize = 256;

/// Reads a page. The connection is in a read transaction, whose state this is.
pub(crate) fn read(
    conn: &Connection,
    names: &mut LaneNames,
    state: &State,
    retention: &Retention,
    query: &ReadQuery,
) -> Outcome<Page> {
    let mut floors = Floors::new(conn, state, retention);
    let (listed, floors_complete) = floors.above(query)?;
    let mut page = Page {
        epoch: state.epoch,
        after: query.after,
        to: query.to.min(state.seq),
        entries: Vec::new(),
        undecodable: Vec::new(),
        floors: listed,
        floors_complete,
        horizon: state.horizon,
        head: state.seq,
    };
    let rows = rows::list(conn, query.after, page.to, SCAN)?;
    if let Some(last) = rows.get(SCAN - 1) {
        page.to = last.seq;
    }
    let (mut bytes, mut taken) = (0, 0);
    for row in rows {
        let lane = names.get(conn, row.lane)?.cloned();
        if let Some(lane) = &lane
            && (!query.wants(lane) || row.seq <= floors.of(row.lane, lane)?)
        {
            continue;
        }
        let at = Position::new(state.epoch, row.seq);
        rows::fetch(
            conn,
            at,
            row.seq,
            |_| lane.clone(),
            |seq, size, read| {
                bytes += size;
                match read {
                    Ok(entry) => page.entries.push(entry),
                    Err(reason) => {
                        tracing::warn!(position = %at, %reason, "an entry cannot be read");
                        page.undecodable.push((seq, lane.clone()));
                    }
                }
                true
            },
        )?;
        taken += 1;
        if taken >= query.limit.max(1) || bytes >= BYTES {
            page.to = row.seq;
            break;
        }
    }
    Ok(page)
}

/// The floors of lanes as they are at this moment, with what is too old taken off.
struct Floors<'a> {
    conn: &'a Connection,
    state: &'a State,
    retention: &'a Retention,
    now: LogTime,
    known: HashMap<i64, u64>,
    /// For each age: the last seq that is older.
    ages: HashMap<Duration, u64>,
}

/// The part of a row of `lanes` that a floor is made of.
#[derive(Debug)]
struct Stored {
    id: i64,
    count: u64,
    floor: u64,
    last_seq: u64,
    due: i64,
}

const COLUMNS: &str = "id, count, floor, last_seq, due, topic, scope";

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<(Self, Option<Lane>)> {
        let (topic, scope) = (row.get_ref(5)?, row.get_ref(6)?);
        let lane = topic.as_str().ok().zip(scope.as_str().ok()).and_then(|(t, s)| lane(t, s));
        let stored = Self {
            id: row.get(0)?,
            count: unsigned(row.get(1)?),
            floor: unsigned(row.get(2)?),
            last_seq: unsigned(row.get(3)?),
            due: row.get(4)?,
        };
        Ok((stored, lane))
    }
}

impl<'a> Floors<'a> {
    fn new(conn: &'a Connection, state: &'a State, retention: &'a Retention) -> Self {
        let now = state.now();
        Self { conn, state, retention, now, known: HashMap::new(), ages: HashMap::new() }
    }

    /// The lanes that the query wants whose floor is above its start, and whether these are all.
    fn above(&mut self, query: &ReadQuery) -> Outcome<(Vec<Floor>, bool)> {
        let mut floors = Vec::new();
        let few = query.filters.as_deref().filter(|filters| {
            filters.wildcards().is_empty() && filters.topics().take(TOPICS + 1).count() <= TOPICS
        });
        // Those that were trimmed, and those in which something may be too old by now.
        let conn = self.conn;
        let Some(filters) = few else {
            let mut select = conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM lanes WHERE floor > +?1 OR due <= +?2"
            ))?;
            let rows = select.query((signed(query.after), self.now.as_millis()))?;
            let complete = self.gather(rows, query, &mut floors)?;
            return Ok((floors, complete));
        };
        let mut select = conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM lanes WHERE topic = ?3 AND (+floor > ?1 OR +due <= ?2)"
        ))?;
        for topic in filters.topics() {
            let now = self.now.as_millis();
            let rows = select.query((signed(query.after), now, topic.as_str()))?;
            self.gather(rows, query, &mut floors)?;
        }
        Ok((floors, true))
    }

    /// Adds the floors of rows of `lanes`. Returns whether it went through all of them.
    fn gather(
        &mut self,
        mut rows: Rows<'_>,
        query: &ReadQuery,
        floors: &mut Vec<Floor>,
    ) -> Outcome<bool> {
        while let Some(row) = rows.next()? {
            let (stored, lane) = Stored::read(row)?;
            let Some(lane) = lane.filter(|lane| query.wants(lane)) else { continue };
            let seq = self.settle(&stored, self.retention.of(&lane.topic))?;
            self.known.insert(stored.id, seq);
            if seq > query.after {
                if floors.len() == FLOORS && query.filters.is_none() {
                    return Ok(false);
                }
                floors.push(Floor { lane, seq });
            }
        }
        Ok(true)
    }

    /// The floor of one lane.
    fn of(&mut self, id: i64, lane: &Lane) -> Outcome<u64> {
        if let Some(seq) = self.known.get(&id) {
            return Ok(*seq);
        }
        let stored = self
            .conn
            .prepare_cached(&format!("SELECT {COLUMNS} FROM lanes WHERE id = ?1"))?
            .query_row([id], Stored::read)
            .optional()?;
        let seq = match stored {
            Some((stored, _)) => self.settle(&stored, self.retention.of(&lane.topic))?,
            None => 0,
        };
        self.known.insert(id, seq);
        Ok(seq)
    }

    /// What the sweep will make of a lane, if its time has come.
    fn settle(&mut self, stored: &Stored, keep: Keep) -> Outcome<u64> {
        if stored.due > self.now.as_millis() || stored.count == 0 {
            return Ok(stored.floor);
        }
        let mut floor = stored.floor;
        let excess = stored.count.saturating_sub(u64::from(keep.entries));
        if excess == stored.count {
            return Ok(stored.last_seq);
        }
        if excess > 0 {
            let mut select = self.conn.prepare_cached(
                "SELECT seq FROM log WHERE lane = +?1 AND seq > +?2 ORDER BY seq LIMIT 1 OFFSET ?3",
            )?;
            let seq =
                select.query_row((stored.id, signed(floor), signed(excess - 1)), |r| r.get(0));
            floor = unsigned(seq.optional()?.unwrap_or(0)).max(floor);
        }
        if !keep.age.is_zero() {
            let old = self.older_than(keep.age)?;
            let mut select = self.conn.prepare_cached(
                "SELECT max(seq) FROM log WHERE lane = +?1 AND seq > +?2 AND seq <= +?3",
            )?;
            let seq: Option<i64> =
                select.query_row((stored.id, signed(floor), signed(old)), |row| row.get(0))?;
            floor = seq.map_or(floor, unsigned);
        }
        Ok(floor)
    }

    /// The last seq whose entry is too old. Found by halving: times rise with seqs, and an index
    /// on them would cost every append.
    fn older_than(&mut self, age: Duration) -> Outcome<u64> {
        if let Some(seq) = self.ages.get(&age) {
            return Ok(*seq);
        }
        let before = self.now.before(age).as_millis();
        let mut select = self
            .conn
            .prepare_cached("SELECT seq, appended FROM log WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
        let (mut old, mut young) = (0, self.state.seq + 1);
        while young - old > 1 {
            let middle = old + (young - old) / 2;
            let found: Option<(i64, i64)> = select
                .query_row([signed(middle)], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match found {
                Some((seq, appended)) if appended <= before => old = unsigned(seq).max(middle),
                _ => young = middle,
            }
        }
        self.ages.insert(age, old);
        Ok(old)
    }
}

/// Where the entry with this id stands, as long as the log remembers.
pub(crate) fn find(conn: &Connection, lane: &Lane, id: &str) -> Outcome<Option<u64>> {
    let mut select = conn.prepare_cached(
        "SELECT ids.seq FROM ids JOIN lanes ON lanes.id = ids.lane
         WHERE lanes.topic = ?1 AND lanes.scope = ?2 AND ids.id = ?3",
    )?;
    let found: Option<i64> = select
        .query_row((lane.topic.as_str(), crate::lanes::scope_text(lane), id), |row| row.get(0))
        .optional()?;
    Ok(found.map(unsigned))
}
