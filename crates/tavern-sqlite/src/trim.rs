//! The sweep: removes what is too old or no longer needed, in small steps.
//!
//! The index on `lanes.due` is its list of work. A step looks at a few lanes whose time has come
//! and deletes a bounded number of rows, so that no transaction becomes long.

use std::time::Duration;

use rusqlite::Connection;
use tavern_backend::{Keep, Lane, LogTime, Retention};

use crate::failure::Outcome;
use crate::keys;
use crate::lanes::{GRACE, LaneRow, NEVER, lane};
use crate::number::{millis, signed, unsigned};
use crate::state::State;

/// How long live messages lie in the file.
const LIVE: i64 = 10_000;

/// What a sweep goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) retention: &'a Retention,
    pub(crate) dedup_window: Duration,
    pub(crate) lane_memory: Duration,
    /// Entries up to here have been readable long enough for every feed.
    pub(crate) settled: u64,
    /// Whether so much waits to be deleted that lanes are looked at before their time.
    pub(crate) pressed: bool,
    /// Rows to delete at most, of each kind.
    pub(crate) budget: u64,
}

/// The place of a sweep that goes through `ids`, from one step to the next.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    ids: i64,
}

impl Sweeper {
    /// Whether there is anything to do; reads only.
    pub(crate) fn is_due(conn: &Connection, now: LogTime, window: Duration) -> Outcome<bool> {
        let mut select = conn.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM lanes WHERE due <= ?1)
                 OR EXISTS (SELECT 1 FROM keys WHERE at < ?2)
                 OR EXISTS (SELECT 1 FROM live WHERE at < ?3)",
        )?;
        let window = now.before(window).as_millis();
        let live = now.as_millis().saturating_sub(LIVE);
        Ok(select.query_row((now.as_millis(), window, live), |row| row.get(0))?)
    }

    /// One step, in the caller's transaction.
    pub(crate) fn step(
        &mut self,
        conn: &Connection,
        state: &mut State,
        now: LogTime,
        rules: Rules<'_>,
    ) -> Outcome<()> {
        sweep_lanes(conn, state, now, rules)?;
        let window = now.before(rules.dedup_window);
        keys::forget(conn, window, rules.budget / 16)?;
        self.sweep_ids(conn, window, rules.budget)?;
        conn.prepare_cached(
            "DELETE FROM live WHERE id IN (SELECT id FROM live WHERE at < ?1 ORDER BY id LIMIT ?2)",
        )?
        .execute((now.as_millis().saturating_sub(LIVE), signed(rules.budget)))?;
        Ok(())
    }

    /// Forgets ids whose entry is gone and whose window is over. An entry that is kept for long
    /// must not hide those behind it, so the sweep goes round.
    fn sweep_ids(&mut self, conn: &Connection, window: LogTime, budget: u64) -> Outcome<()> {
        let mut last = conn.prepare_cached(
            "SELECT max(seq), count(*) FROM (SELECT seq FROM ids WHERE seq > ?1 ORDER BY seq LIMIT ?2)",
        )?;
        let (end, found): (Option<i64>, i64) =
            last.query_row((self.ids, signed(budget)), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some(end) = end else {
            self.ids = 0;
            return Ok(());
        };
        conn.prepare_cached(
            "DELETE FROM ids WHERE seq > ?1 AND seq <= ?2 AND at < ?3
             AND NOT EXISTS (SELECT 1 FROM log WHERE log.seq = ids.seq)",
        )?
        .execute((self.ids, end, window.as_millis()))?;
        self.ids = if unsigned(found) < budget { 0 } else { end };
        Ok(())
    }
}

fn sweep_lanes(
    conn: &Connection,
    state: &mut State,
    now: LogTime,
    rules: Rules<'_>,
) -> Outcome<()> {
    let mut select = conn
        .prepare_cached("SELECT topic, scope FROM lanes WHERE due <= ?1 ORDER BY due LIMIT ?2")?;
    // A lane in which anything waits to be deleted is due within the grace: see `LaneRow::trim`.
    let early = if rules.pressed { GRACE } else { 0 };
    let before = now.as_millis().saturating_add(early);
    let due: Vec<Option<Lane>> = select
        .query_map((before, signed(rules.budget)), |row| {
            let (topic, scope): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(lane(&topic, &scope))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut budget = rules.budget;
    for lane in due.into_iter().flatten() {
        let Some(mut row) = LaneRow::find(conn, &lane)? else { continue };
        budget = budget.saturating_sub(sweep_lane(
            conn,
            state,
            &mut row,
            rules.retention.of(&lane.topic),
            now,
            Rules { budget, ..rules },
        )?);
        if budget == 0 {
            break;
        }
    }
    Ok(())
}

/// Brings one lane up to date. Returns how many rows it went through.
fn sweep_lane(
    conn: &Connection,
    state: &mut State,
    row: &mut LaneRow,
    keep: Keep,
    now: LogTime,
    rules: Rules<'_>,
) -> Outcome<u64> {
    row.trim(conn, keep, now)?;
    let expired = expire(conn, row, keep, now, rules.budget)?;
    let deleted = delete_removed(conn, row, rules)?;
    let oldest: Option<i64> = conn
        .prepare_cached("SELECT min(seq) FROM log WHERE lane = +?1")?
        .query_row([row.id], |r| r.get(0))?;
    let empty = row.count == 0 && oldest.is_none();
    let forget_at = row.last_at.after(rules.lane_memory);
    if empty && forget_at <= now {
        conn.prepare_cached("DELETE FROM lanes WHERE id = ?1")?.execute([row.id])?;
        state.horizon = state.horizon.max(row.last_seq);
        return Ok(expired + deleted + 1);
    }
    row.due = if empty {
        forget_at.as_millis()
    } else {
        let lies_below = oldest.is_some_and(|seq| unsigned(seq) <= row.floor);
        let next_delete =
            if lies_below { now.as_millis().saturating_add(GRACE / 2) } else { NEVER };
        next_expiry(conn, row, keep)?.min(next_delete)
    };
    row.save(conn)?;
    Ok(expired + deleted + 1)
}

/// Raises the floor over entries that are too old; returns how many.
fn expire(
    conn: &Connection,
    row: &mut LaneRow,
    keep: Keep,
    now: LogTime,
    budget: u64,
) -> Outcome<u64> {
    if keep.age.is_zero() || row.count == 0 {
        return Ok(0);
    }
    let mut select = conn.prepare_cached(
        "SELECT max(seq), count(*) FROM (SELECT seq, appended FROM log INDEXED BY log_lane
             WHERE lane = +?1 AND seq > +?2 ORDER BY seq LIMIT ?3)
         WHERE appended <= ?4",
    )?;
    let before = now.before(keep.age).as_millis();
    let (last, found): (Option<i64>, i64) = select
        .query_row((row.id, signed(row.floor), signed(budget.max(1)), before), |r| {
            Ok((r.get(0)?, r.get(1)?))
        })?;
    let found = unsigned(found);
    if let Some(last) = last {
        row.floor = unsigned(last);
        row.count = row.count.saturating_sub(found);
    }
    Ok(found)
}

/// Deletes rows at or below the floor that every feed has had the time to read.
fn delete_removed(conn: &Connection, row: &LaneRow, rules: Rules<'_>) -> Outcome<u64> {
    let mut delete = conn.prepare_cached(
        "DELETE FROM log WHERE seq IN
             (SELECT seq FROM log WHERE lane = +?1 AND seq <= +?2 ORDER BY seq LIMIT ?3)",
    )?;
    let through = row.floor.min(rules.settled);
    let deleted = delete.execute((row.id, signed(through), signed(rules.budget.max(1))))?;
    Ok(crate::number::count(deleted))
}

/// When the oldest entry that is kept becomes too old.
fn next_expiry(conn: &Connection, row: &LaneRow, keep: Keep) -> Outcome<i64> {
    if keep.age.is_zero() || row.count == 0 {
        return Ok(NEVER);
    }
    let mut select = conn.prepare_cached(
        "SELECT appended FROM log WHERE lane = +?1 AND seq > +?2 ORDER BY seq LIMIT 1",
    )?;
    let appended: i64 = select.query_row((row.id, signed(row.floor)), |r| r.get(0))?;
    Ok(appended.saturating_add(millis(keep.age)))
}

/// When the head reached which seq, as this writer saw it.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    /// (log time, head, bytes written by this process until then), oldest first.
    samples: std::collections::VecDeque<(i64, u64, u64)>,
    bytes: u64,
    settled: u64,
    pressed: bool,
}

/// Samples are at least this far apart.
const STEP: i64 = 50;
/// More than this much of what is only kept for slow feeds is not kept.
const SURPLUS: u64 = 64 << 20;

impl Settling {
    /// Notes a commit.
    pub(crate) fn note(&mut self, now: LogTime, head: u64, bytes: u64) {
        let now = now.as_millis();
        self.bytes += bytes;
        if self.samples.back().is_none_or(|(at, ..)| now - at >= STEP) {
            self.samples.push_back((now, head, self.bytes));
        }
        self.pressed = false;
        while let Some(&(at, seq, written)) = self.samples.front() {
            let over = self.bytes - written >= SURPLUS;
            if now - at < GRACE && !over {
                break;
            }
            self.pressed |= over;
            self.settled = seq;
            self.samples.pop_front();
        }
    }

    /// Up to where removed entries may be deleted.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// Whether that is because there were too many bytes.
    pub(crate) fn is_pressed(&self) -> bool {
        self.pressed
    }

    /// The log is another one: nothing is known of it.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
