//! The writer's hold on the log: its turn, its connection, its transaction.

mod retention;

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tavern_backend::{Append, LogTime, Position, Published, Retention};

use crate::append::{Appender, Context};
use crate::doorbell::Ringer;
use crate::failure::{Failure, Kind, Outcome};
use crate::fence::Fence;
use crate::incarnation::{Boot, Incarnation};
use crate::lock::LockFile;
use crate::number::wall_clock;
use crate::place::FileId;
use crate::schema::{self, Access};
use crate::shared::Shared;
use crate::state::State;
use crate::trim::{Rules, Settling, Sweeper};

#[derive(Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    boot: Boot,
    lock: LockFile,
    ringer: Ringer,
    open: Option<Open>,
    /// Since when the file is not there, on the wall clock.
    gone_since: Option<i64>,
    settling: Settling,
    sweeper: Sweeper,
    /// When the last step of the sweep was, and how much was appended since.
    swept: (LogTime, u64),
}

/// The database, opened.
#[derive(Debug)]
struct Open {
    conn: Connection,
    id: FileId,
    incarnation: Incarnation,
    retention: Retention,
    /// The write-ahead log, once there is one: it stays as long as a connection is open.
    wal: Option<FileId>,
}

/// A file that is gone is created anew only after this time: it may be on its way.
const GONE: i64 = 2_000;
/// A sweep with every transaction would cost too much, …
const SWEEP_EVERY: Duration = Duration::from_millis(20);
/// … and one that deletes less than is appended would never end.
const SWEEP_ROWS: u64 = 256;

impl Log {
    pub(crate) fn new(shared: Arc<Shared>) -> Outcome<Self> {
        let lock = LockFile::open(shared.place.lock.clone()).map_err(lock_failure)?;
        let ringer = Ringer::new(shared.place.nodes.clone());
        Ok(Self {
            shared,
            boot: Boot::read(),
            lock,
            ringer,
            open: None,
            gone_since: None,
            settling: Settling::default(),
            sweeper: Sweeper::default(),
            swept: (LogTime::default(), 0),
        })
    }

    /// Creates or opens the log, and brings its rules in line if told to. Returns the rules in
    /// force if they are not those configured.
    pub(crate) fn open(&mut self) -> Outcome<Option<Retention>> {
        self.enter()?;
        let outcome = self.settle_retention();
        self.leave();
        outcome
    }

    /// Waits for this writer's turn, and makes sure that the database is the one at the path.
    pub(crate) fn enter(&mut self) -> Outcome<()> {
        self.lock.acquire().map_err(lock_failure)?;
        self.find().inspect_err(|_| self.lock.release())
    }

    /// The same, if nobody has the turn.
    fn try_enter(&mut self) -> Outcome<bool> {
        if !self.lock.try_acquire().map_err(lock_failure)? {
            return Ok(false);
        }
        self.find().inspect_err(|_| self.lock.release())?;
        Ok(true)
    }

    /// Ends this writer's turn.
    pub(crate) fn leave(&mut self) {
        self.lock.release();
    }

    /// Begins the transaction.
    pub(crate) fn begin(&mut self) -> Outcome<()> {
        self.opened()?.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    pub(crate) fn rollback(&mut self) {
        let Some(open) = &self.open else { return };
        // SQLite may have rolled back by itself. If this fails, the connection is of no use.
        if !open.conn.is_autocommit() && open.conn.execute_batch("ROLLBACK").is_err() {
            self.open = None;
        }
    }

    /// Appends batches in the transaction that was begun, and commits it.
    pub(crate) fn append(&mut self, appends: &[&Append]) -> Outcome<Vec<Vec<Published>>> {
        let outcome = self.write(|appender| {
            appends.iter().map(|append| appender.append(append)).collect::<Outcome<_>>()
        });
        if outcome.is_err() {
            self.rollback();
        }
        outcome
    }

    /// Tells the other nodes.
    pub(crate) fn ring(&mut self) {
        self.ringer.ring();
    }

    /// Looks around: whether the file is still there, whether it can be written to if it could not
    /// before, and whether something in it is worth removing.
    pub(crate) fn look(&mut self, failing: bool) -> Outcome<()> {
        let there = self.open.as_ref().map(|open| open.id);
        let moved = there.is_none() || FileId::of(&self.shared.place.db).ok().flatten() != there;
        if !failing && !moved && !self.is_sweep_due()? {
            return Ok(());
        }
        if failing {
            // In the queue: beside busy writers the lock is never found free.
            self.enter()?;
        } else if !self.try_enter()? {
            // Somebody else is at work, and does what has to be done.
            return if moved { Err(held()) } else { Ok(()) };
        }
        let outcome = self
            .begin()
            .and_then(|()| self.touch(failing))
            .and_then(|()| self.append(&[]).map(drop));
        if outcome.is_err() {
            self.rollback();
        }
        self.leave();
        match outcome {
            Err(failure) if failure.is_locked() && !failing => Ok(()),
            outcome => outcome,
        }
    }

    /// Writes for the sake of writing: a commit with nothing in it would prove nothing.
    fn touch(&mut self, failing: bool) -> Outcome<()> {
        if failing {
            self.opened()?.conn.execute("UPDATE state SET id = id", [])?;
        }
        Ok(())
    }

    /// A tick that is not everybody's at the same moment.
    pub(crate) fn jitter(&self, tick: Duration) -> Duration {
        let part = u32::try_from(self.shared.node.to_u64() % 64).unwrap_or(0);
        tick * (96 + part) / 128
    }

    fn opened(&mut self) -> Outcome<&mut Open> {
        self.open.as_mut().ok_or_else(|| Failure::away("the database file is not open"))
    }

    /// One transaction that was begun: `work`, what the sweep has to do, the commit, the fence.
    fn write<T>(&mut self, work: impl FnOnce(&mut Appender<'_>) -> Outcome<T>) -> Outcome<T> {
        let fence = Fence::read(self.lock.file()).map_err(lock_failure)?;
        let Some(open) = &mut self.open else {
            return Err(Failure::away("the database file is not open"));
        };
        let before = State::load(&open.conn)?;
        if before.retention != open.retention.version {
            open.retention = schema::read_retention(&open.conn)?;
        }
        let config = &self.shared.config;
        let mut appender = Appender::new(
            Context {
                conn: &open.conn,
                retention: &open.retention,
                incarnation: &open.incarnation,
                fence,
                node: self.shared.node,
                max_payload: config.max_payload,
                dedup_window: config.dedup_window,
            },
            before.clone(),
        );
        let result = work(&mut appender)?;
        let (now, bytes) = (appender.now(), appender.bytes());
        let mut state = appender.finish()?;
        self.settling.note(now, state.seq, bytes);
        let appended = self.swept.1 + (state.seq - before.seq) + (state.live - before.live);
        if self.settling.is_pressed() || now >= self.swept.0.after(SWEEP_EVERY) {
            let rules = Rules {
                retention: &open.retention,
                dedup_window: config.dedup_window,
                lane_memory: config.lane_memory,
                settled: self.settling.settled(),
                pressed: self.settling.is_pressed(),
                budget: SWEEP_ROWS.max(2 * appended),
            };
            let horizon = state.horizon;
            self.sweeper.step(&open.conn, &mut state, now, rules)?;
            if state.horizon != horizon {
                state.save(&open.conn)?;
            }
            self.swept = (now, 0);
        } else {
            self.swept.1 = appended;
        }
        open.conn
            .prepare_cached("COMMIT")?
            .execute([])
            .map_err(|e| Failure::from(e).of_commit())?;
        // Only what appends has held the log against the fence. What merely swept may be on a log
        // that was put back, and must leave to the next append what tells so.
        let kept = fence.filter(|_| state.position() == before.position());
        self.raise_fence(kept.map_or(state.position(), |fence| fence.position));
        Ok(result)
    }

    fn raise_fence(&mut self, position: Position) {
        let Some(open) = &mut self.open else { return };
        if open.wal.is_none() {
            open.wal = FileId::of(&self.shared.place.wal).ok().flatten();
        }
        let fence = Fence { position, db: open.id, wal: open.wal, pid: std::process::id() };
        // Without a fence a restored backup is still told by the file's identity and by the nodes'
        // own memory; the entries just written are safe.
        if let Err(error) = fence.write(self.lock.file()) {
            tracing::warn!(%error, "the fence beside the database could not be written");
        }
    }

    fn is_sweep_due(&mut self) -> Outcome<bool> {
        let window = self.shared.config.dedup_window;
        let Some(open) = &self.open else { return Ok(false) };
        let now = State::load(&open.conn)?.now();
        Sweeper::is_due(&open.conn, now, window)
    }

    /// Opens the database at the path, if that is not the one that is open. The lock is held.
    fn find(&mut self) -> Outcome<()> {
        let path = &self.shared.place.db;
        let found = FileId::of(path)
            .map_err(|error| Failure::io("the database file cannot be looked at", error))?;
        let had = self.open.as_ref().map(|open| open.id);
        if found.is_some() && found == had {
            return Ok(());
        }
        if found.is_some() {
            self.gone_since = None;
        } else if had.is_some() || self.gone_since.is_some() {
            let now = wall_clock();
            let since = *self.gone_since.get_or_insert(now);
            if now - since < GONE {
                return Err(Failure::away("the database file is gone"));
            }
            tracing::warn!(path = %path.display(), "the database file is gone; a new one is created");
        }
        self.open = None;
        self.shared.vet(None);
        self.settling.reset();
        let open = self.connect(found)?;
        self.shared.vet(Some(open.id));
        self.open = Some(open);
        self.gone_since = None;
        Ok(())
    }

    fn connect(&mut self, found: Option<FileId>) -> Outcome<Open> {
        let place = &self.shared.place;
        let fence = Fence::read(self.lock.file()).map_err(lock_failure)?;
        put_aside_foreign_wal(&self.shared, fence, found)?;
        let mut conn = schema::connect(place, &self.shared.config, Access::Create)?;
        let id = FileId::of(&place.db)
            .map_err(|error| Failure::io("the database file cannot be looked at", error))?;
        let id = match (found, id) {
            (None, Some(id)) => id,
            (Some(before), Some(id)) if before == id => id,
            _ => return Err(Failure::away("the database file was replaced while it was opened")),
        };
        let incarnation = Incarnation::new(id, &self.boot, self.shared.config.durability);
        let created = schema::prepare(&mut conn, &self.shared.config, &incarnation)?;
        let retention = schema::read_retention(&conn)?;
        let state = State::load(&conn)?;
        self.open = Some(Open { conn, id, incarnation, retention, wal: None });
        if created {
            self.raise_fence(state.position());
        }
        self.open.take().ok_or_else(|| Failure::away("the database file is not open"))
    }
}

/// Puts a write-ahead log out of the way that belongs to another file than the one at the path.
fn put_aside_foreign_wal(
    shared: &Shared,
    fence: Option<Fence>,
    found: Option<FileId>,
) -> Outcome<()> {
    let Some(fence) = fence.filter(|fence| found.is_some_and(|db| !db.may_be(fence.db))) else {
        return Ok(());
    };
    let place = &shared.place;
    let failed = |error| Failure::io("the old write-ahead log cannot be put aside", error);
    let wal = FileId::of(&place.wal).map_err(failed)?;
    if !wal.zip(fence.wal).is_some_and(|(found, theirs)| found.may_be(theirs)) {
        return Ok(());
    }
    let mut aside = place.wal.clone().into_os_string();
    aside.push(format!(".of-{}", fence.position.epoch));
    tracing::warn!(
        wal = %place.wal.display(), aside = %aside.display(),
        "the database file was replaced, but the write-ahead log beside it belongs to the old one; \
         it is put aside"
    );
    std::fs::rename(&place.wal, aside).map_err(failed)?;
    match std::fs::remove_file(&place.shm) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

fn held() -> Failure {
    Failure::new(Kind::Locked, "another process holds the writers' lock")
}

fn lock_failure(error: std::io::Error) -> Failure {
    Failure::io("the writers' lock beside the database cannot be used", error)
}
