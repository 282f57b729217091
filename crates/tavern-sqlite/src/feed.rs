//! The one thread that follows the log and fills this node's feed.
//!
//! **Why interest is exact.** A page is read in one snapshot, and the interest it is held against
//! is taken *after* the snapshot was opened. `subscribe` adds interest first and reads the head P
//! afterwards, from a snapshot of its own. An entry above P was committed after P was read, so
//! after the interest was there. A snapshot that has the entry was opened later still, so the
//! interest taken after it is in it: no entry above P is ever skipped.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use tavern_backend::{
    FeedEvent, FilterSet, Lane, LiveMessage, NodeId, Place, Position, Topic, wire,
};
use tokio::sync::mpsc;

use crate::doorbell::Bell;
use crate::failure::{Failure, Outcome};
use crate::lanes::LaneNames;
use crate::number::{count, signed, unsigned};
use crate::rows::{self, Found};
use crate::shared::{Session, Shared};
use crate::state::{self, State};
use crate::vitals::Part;

/// Rows in a page.
const PAGE: usize = 512;
/// Bytes of bodies in a page, from which on no further row is read.
const PAGE_BYTES: usize = 4 << 20;

/// The end is noticed within this time, however seldom the file is looked at.
const SLICE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Feeder {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Vec<FeedEvent>>,
    bell: Bell,
    session: Option<Session>,
    names: LaneNames,
    /// Everything up to here was yielded.
    at: Position,
    /// The same for live messages.
    live: u64,
    lost: bool,
}

/// A page of the log, and where it ends.
#[derive(Debug)]
struct Step {
    events: Vec<FeedEvent>,
    at: Position,
    live: u64,
    head: Position,
    /// Whether there is more to read.
    more: bool,
}

impl Feeder {
    /// Starts at the log's head.
    pub(crate) fn new(shared: Arc<Shared>, sender: mpsc::Sender<Vec<FeedEvent>>) -> Outcome<Self> {
        // The bell hangs before the head is read: what comes after it rings.
        let bell = Bell::hang(&shared.place.nodes, shared.node);
        let session = shared.reader()?;
        let state = State::load(&session.conn)?;
        Ok(Self {
            shared,
            sender,
            bell,
            session: Some(session),
            names: LaneNames::default(),
            at: state.position(),
            live: state.live,
            lost: false,
        })
    }

    pub(crate) fn run(mut self) {
        while !self.shared.stop.is_told() {
            match self.step() {
                Ok(step) => {
                    let more = step.more;
                    if !self.yield_step(step) {
                        return;
                    }
                    if more {
                        continue;
                    }
                }
                Err(failure) => {
                    if !self.lose(&failure) {
                        return;
                    }
                }
            }
            self.rest();
        }
    }

    /// Waits for the bell, for the next poll, or for the end.
    fn rest(&self) {
        let mut left = self.shared.config.poll_interval;
        while !left.is_zero() && !self.shared.stop.is_told() {
            let slice = left.min(SLICE);
            if self.bell.wait(slice) {
                return;
            }
            left -= slice;
        }
    }

    /// Hands a page on. Returns whether anybody listens.
    fn yield_step(&mut self, step: Step) -> bool {
        let mut events = step.events;
        if self.lost {
            self.lost = false;
            events.insert(0, FeedEvent::LinkRestored { head: step.head });
            self.shared.vitals.works(Part::Feed);
        }
        (self.at, self.live) = (step.at, step.live);
        events.is_empty() || self.send(events)
    }

    fn lose(&mut self, failure: &Failure) -> bool {
        self.session = None;
        self.shared.vitals.fails(Part::Feed, Arc::clone(&failure.reason));
        if self.lost {
            return true;
        }
        self.lost = true;
        self.send(vec![FeedEvent::LinkLost { reason: Arc::clone(&failure.reason) }])
    }

    /// Waits until there is room, or the node ends.
    fn send(&self, events: Vec<FeedEvent>) -> bool {
        let room = block_on(async {
            tokio::select! {
                biased;
                () = self.shared.stop.told() => None,
                room = self.sender.reserve() => room.ok(),
            }
        });
        room.map(|room| room.send(events)).is_some()
    }

    fn step(&mut self) -> Outcome<Step> {
        if self.session.as_ref().is_some_and(|session| session.check(&self.shared).is_err()) {
            self.session = None;
        }
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                self.names.clear();
                self.shared.reader()?
            }
        };
        let step = self.read(&session.conn);
        self.session = Some(session);
        step
    }

    fn read(&mut self, conn: &Connection) -> Outcome<Step> {
        let snapshot = conn.unchecked_transaction()?;
        let state = State::load(&snapshot)?;
        let interest = self.shared.interest.now();
        let head = state.position();
        let at = self.place(&snapshot, &state)?;
        let mut step = Step { events: Vec::new(), at, live: self.live, head, more: false };
        if at.seq < head.seq {
            self.read_log(&snapshot, &interest, &mut step)?;
        }
        if state.live != self.live {
            read_live(&snapshot, &interest, self.shared.node, &state, &mut step)?;
        }
        Ok(step)
    }

    /// Where to go on in the log's epoch.
    fn place(&mut self, conn: &Connection, state: &State) -> Outcome<Position> {
        if state.epoch == self.at.epoch {
            return Ok(self.at);
        }
        self.names.clear();
        let lineage = state::lineage(conn, state.epoch)?;
        let seq = match lineage.locate(self.at, state.seq) {
            Place::At { seq, .. } => seq,
            Place::Beyond { fork } => fork,
            Place::Unknown => 0,
        };
        Ok(Position::new(state.epoch, seq))
    }

    fn read_log(
        &mut self,
        conn: &Connection,
        interest: &FilterSet,
        step: &mut Step,
    ) -> Outcome<()> {
        let rows = rows::list(conn, step.at.seq, step.head.seq, PAGE)?;
        let full = rows.len() == PAGE;
        let mut bytes = 0;
        let mut rest = &rows[..];
        while let Some(first) = rest.first() {
            let wanted = self.is_wanted(conn, interest, *first)?;
            let mut run = 1;
            while let Some(next) = rest.get(run) {
                if next.seq != first.seq + count(run)
                    || self.is_wanted(conn, interest, *next)? != wanted
                {
                    break;
                }
                run += 1;
            }
            let (run, behind) = rest.split_at(run);
            if !wanted {
                let last = first.seq + count(run.len() - 1);
                step.events.push(FeedEvent::Skip {
                    epoch: step.at.epoch,
                    from: first.seq,
                    to: last,
                });
                step.at.seq = last;
            } else if !self.read_run(conn, run, &mut bytes, step)? {
                step.more = true;
                return Ok(());
            }
            rest = behind;
        }
        if full {
            step.more = true;
        } else {
            step.at.seq = step.head.seq;
        }
        Ok(())
    }

    /// What has no lane is wanted by everybody: it has to be said that it cannot be read.
    fn is_wanted(&mut self, conn: &Connection, interest: &FilterSet, row: Found) -> Outcome<bool> {
        Ok(self.names.get(conn, row.lane)?.is_none_or(|lane| interest.matches(&lane.topic)))
    }

    /// Reads rows that follow each other. Returns whether the page has room for more.
    fn read_run(
        &mut self,
        conn: &Connection,
        run: &[Found],
        bytes: &mut usize,
        step: &mut Step,
    ) -> Outcome<bool> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(true) };
        let epoch = step.at.epoch;
        let mut lanes: Vec<Option<Lane>> = Vec::with_capacity(run.len());
        for row in run {
            lanes.push(self.names.get(conn, row.lane)?.cloned());
        }
        let lane = |seq: u64| {
            let index = usize::try_from(seq - first.seq).unwrap_or(usize::MAX);
            lanes.get(index).cloned().flatten()
        };
        rows::fetch(conn, Position::new(epoch, first.seq), last.seq, lane, |seq, size, read| {
            step.at.seq = seq;
            step.events.push(match read {
                Ok(entry) => FeedEvent::Entry(entry),
                Err(reason) => {
                    let position = Position::new(epoch, seq);
                    FeedEvent::Undecodable { position, lane: lane(seq), reason }
                }
            });
            *bytes += size;
            *bytes < PAGE_BYTES
        })?;
        Ok(*bytes < PAGE_BYTES)
    }
}

fn read_live(
    conn: &Connection,
    interest: &FilterSet,
    node: NodeId,
    state: &State,
    step: &mut Step,
) -> Outcome<()> {
    let mut select = conn.prepare_cached(
        "SELECT id, node, topic, body FROM live WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    // A log that was put back counts from lower again: what was sent meanwhile is lost, as live
    // messages may be.
    let after = step.live.min(state.live);
    let mut rows = select.query((signed(after), signed(count(PAGE))))?;
    let (mut last, mut found, mut bytes) = (after, 0, 0);
    // Read as it is needed: what comes after the last place in the page stays where it is.
    while found < PAGE
        && bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        found += 1;
        last = unsigned(row.get(0)?);
        let (from, topic, body) = (row.get_ref(1)?, row.get_ref(2)?, row.get_ref(3)?);
        if from.as_i64().ok() == Some(node.to_u64().cast_signed()) {
            continue;
        }
        let wanted = topic.as_str().ok().and_then(|topic| Topic::new(topic).ok());
        if !wanted.is_some_and(|topic| interest.matches(&topic)) {
            continue;
        }
        let read = body.as_blob().map(|body| {
            bytes += body.len();
            wire::decode(Bytes::copy_from_slice(body))
        });
        match read {
            Ok(Ok(record)) => step.events.push(FeedEvent::Live(LiveMessage {
                origin: record.origin,
                envelope: record.envelope,
            })),
            Ok(Err(error)) => tracing::warn!(%error, "a live message cannot be read"),
            Err(error) => tracing::warn!(%error, "a live message is damaged"),
        }
    }
    let full = found >= PAGE || bytes >= PAGE_BYTES;
    step.more |= full;
    step.live = if full { last } else { state.live };
    Ok(())
}

/// Runs a future on this thread, which belongs to no runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}
