//! Follows the log and fills this node's feed.
//!
//! The bell, rung by who appends, and the poll behind it say that there may be something new; what
//! it is, is read. A page is one statement, so of one moment, and the interest it is held against is
//! looked at afterwards: an entry above the head that `subscribe` returned was committed after
//! interest was there, so it is never skipped.

use std::sync::Arc;

use tavern_backend::{Epoch, FeedEvent, LiveMessage, LogTime, Place, Position, wire};
use tokio::sync::mpsc;
use tokio_postgres::types::{ToSql, Type};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::log::State;
use crate::number::{signed, unsigned};
use crate::outlet::Outlet;
use crate::record::{Read, read};
use crate::shared::{Session, Shared};

/// Entries of one page.
const PAGE: i32 = 1000;
/// Bytes of a page's entries, and of its live messages: it then ends, behind one at least.
const BYTES: i64 = 8 << 20;

/// What the log is, entries in its order, live messages in theirs.
const FOLLOW: &str = "SELECT kind, seq, appended, record, log, epoch, server
    FROM tavern.follow($1, $2, $3, $4, $5)";

/// Something that happened to the link.
#[derive(Debug)]
pub(crate) enum Inbound {
    Lost(Arc<str>),
    /// It is back; the log is followed from here.
    Restored(State, i64, Arc<Session>),
}

#[derive(Debug)]
pub(crate) struct Follower {
    shared: Arc<Shared>,
    link: mpsc::Receiver<Inbound>,
    outlet: Outlet,
    following: Option<Following>,
    /// There is something to read, or may be.
    behind: bool,
}

#[derive(Debug)]
struct Following {
    session: Arc<Session>,
    id: i32,
    log: String,
    /// Everything up to here was handed on, or is for who counts.
    at: Position,
    /// The same for live messages.
    live: i64,
}

impl Follower {
    pub(crate) fn new(
        shared: Arc<Shared>,
        link: mpsc::Receiver<Inbound>,
        feed: mpsc::Sender<Vec<FeedEvent>>,
    ) -> Self {
        Self { shared, link, outlet: Outlet::new(feed), following: None, behind: false }
    }

    pub(crate) async fn run(mut self, token: CancellationToken) {
        let bell = Arc::clone(&self.shared.bell);
        let mut poll = tokio::time::interval(self.shared.config.poll_interval);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // A node that is behind is waited for: it is the log that keeps what comes. The link is
            // heard of, whoever does not read.
            let ready = self.following.is_some() && self.outlet.is_empty();
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                inbound = self.link.recv() => match inbound {
                    Some(inbound) => self.linked(inbound),
                    None => return,
                },
                () = self.outlet.pay() => {}
                () = std::future::ready(()), if ready && self.behind => self.follow(&token).await,
                () = bell.notified(), if ready => self.behind = true,
                _ = poll.tick(), if ready => self.behind = true,
            }
        }
    }

    fn linked(&mut self, inbound: Inbound) {
        let notice = match inbound {
            Inbound::Lost(reason) => {
                self.following = None;
                FeedEvent::LinkLost { reason }
            }
            Inbound::Restored(state, live, session) => {
                let (id, log) = (state.view.id, state.view.log.clone());
                let head = state.head.position;
                self.following = Some(Following { session, id, log, at: head, live });
                self.behind = true;
                FeedEvent::LinkRestored { head }
            }
        };
        self.outlet.notice(notice);
    }

    /// Reads a page of what is new.
    async fn follow(&mut self, token: &CancellationToken) {
        self.behind = false;
        let Some(following) = &mut self.following else { return };
        let session = Arc::clone(&following.session);
        if session.ending.is_over() {
            return;
        }
        let read = tokio::select! {
            read = following.step(&self.shared) => read,
            () = token.cancelled() => return,
        };
        match read {
            Ok((events, more)) => {
                self.behind = more;
                self.outlet.give(events);
            }
            Err(failure) => {
                session.notice(&failure);
                if failure.absent {
                    session.ending.end(&failure.reason);
                }
                tracing::debug!(reason = %failure.reason, "the log cannot be followed now");
            }
        }
    }
}

impl Following {
    /// One page of entries and of live messages. Returns whether there may be more.
    async fn step(&mut self, shared: &Shared) -> Result<(Vec<FeedEvent>, bool), Failure> {
        let client = &self.session.follower;
        let after = signed(self.at.seq);
        let values: [(&(dyn ToSql + Sync), Type); 5] = [
            (&self.id, Type::INT4),
            (&after, Type::INT8),
            (&self.live, Type::INT8),
            (&PAGE, Type::INT4),
            (&BYTES, Type::INT8),
        ];
        let rows = client.rows(shared.config.timeout, FOLLOW, &values).await?;
        let (first, rows) =
            rows.split_first().ok_or_else(|| Failure::of_link("the log is another one now"))?;
        if first.get::<_, &str>(4) != self.log {
            return Err(Failure::of_link("the log is another one now"));
        }
        // Behind a pooler nothing else tells. Numbers of live messages may begin again.
        if first.get::<_, &str>(6) != self.session.server {
            return Err(Failure::of_link("the server was started again, or is another one"));
        }
        let epoch: Epoch = crate::log::parse_epoch(first.get(5))?;
        if epoch != self.at.epoch && self.enter(shared, epoch).await? {
            return Ok((Vec::new(), true));
        }
        self.at.epoch = epoch;
        let mut events = Vec::with_capacity(rows.len());
        let (mut entries, mut live) = (Taken::default(), Taken::default());
        for row in rows {
            let record: &[u8] = row.get(3);
            if row.get::<_, &str>(0) == "e" {
                entries.take(record);
                self.at.seq = unsigned(row.get(1));
                let appended = LogTime::from_millis(row.get(2));
                push(shared, &mut events, self.at, appended, record);
                continue;
            }
            live.take(record);
            self.live = row.get(1);
            let Ok(record) = wire::decode(record.to_vec().into()) else { continue };
            let (origin, envelope) = (record.origin, record.envelope);
            if origin.node != shared.node && shared.wants(&envelope.topic) {
                events.push(FeedEvent::Live(LiveMessage { origin, envelope }));
            }
        }
        Ok((events, entries.is_full() || live.is_full()))
    }

    /// Goes on in another epoch. Returns whether that begins elsewhere than where this one was.
    async fn enter(&mut self, shared: &Shared, epoch: Epoch) -> Result<bool, Failure> {
        let state = shared.look_with(&self.session.reader).await?;
        let head = state.head.position;
        if head.epoch != epoch {
            // It moves on meanwhile: from the beginning.
            return Ok(true);
        }
        let seq = match state.head.lineage.locate(self.at, head.seq) {
            Place::At { seq, .. } => seq,
            Place::Beyond { fork } => fork,
            // It begins anew at the head, and who reads the feed is told.
            Place::Unknown => return Err(Failure::of_link("the log has another past now")),
        };
        let elsewhere = seq != self.at.seq;
        self.at = Position::new(epoch, seq);
        Ok(elsewhere)
    }
}

/// What a page has of one kind.
#[derive(Debug, Default)]
struct Taken {
    rows: i32,
    bytes: i64,
}

impl Taken {
    fn take(&mut self, record: &[u8]) {
        self.rows += 1;
        self.bytes += i64::try_from(record.len()).unwrap_or(i64::MAX);
    }

    /// Whether there may be more than the page has.
    fn is_full(&self) -> bool {
        self.rows >= PAGE || self.bytes >= BYTES
    }
}

/// Hands an entry on, or skips it. What it is not read of, as it was removed, is for who counts.
fn push(
    shared: &Shared,
    events: &mut Vec<FeedEvent>,
    at: Position,
    appended: LogTime,
    record: &[u8],
) {
    let event = match read(at, appended, record.to_vec().into()) {
        Read::Entry(entry) if shared.wants(&entry.record.envelope.topic) => FeedEvent::Entry(entry),
        Read::Undecodable(lane, reason)
            if lane.as_ref().is_none_or(|lane| shared.wants(&lane.topic)) =>
        {
            FeedEvent::Undecodable { position: at, lane, reason: reason.into() }
        }
        _ => match events.last_mut() {
            Some(FeedEvent::Skip { epoch, to, .. }) if *epoch == at.epoch && *to + 1 == at.seq => {
                *to = at.seq;
                return;
            }
            _ => FeedEvent::Skip { epoch: at.epoch, from: at.seq, to: at.seq },
        },
    };
    events.push(event);
}
