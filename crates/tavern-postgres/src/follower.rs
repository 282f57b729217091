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

use crate::connect::timed;
use crate::failure::Failure;
use crate::log::State;
use crate::number::{signed, unsigned};
use crate::record::{Read, read};
use crate::shared::{Session, Shared};

/// Entries of one page.
const PAGE: i32 = 1000;

/// What the log is, entries in its order, live messages in theirs.
const FOLLOW: &str = "SELECT kind, seq, appended, record, log, epoch
    FROM tavern.follow($1, $2, $3, $4)";

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
    feed: mpsc::Sender<Vec<FeedEvent>>,
    following: Option<Following>,
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
        Self { shared, link, feed, following: None }
    }

    pub(crate) async fn run(mut self, token: CancellationToken) {
        let bell = Arc::clone(&self.shared.bell);
        let mut poll = tokio::time::interval(self.shared.config.poll_interval);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                inbound = self.link.recv() => {
                    let Some(inbound) = inbound else { return };
                    let event = self.linked(inbound);
                    tokio::select! {
                        // Nobody reads a feed that was dropped.
                        _ = self.feed.send(vec![event]) => {}
                        () = token.cancelled() => return,
                    }
                }
                () = bell.notified(), if self.following.is_some() => self.follow(&token).await,
                _ = poll.tick(), if self.following.is_some() => self.follow(&token).await,
            }
        }
    }

    fn linked(&mut self, inbound: Inbound) -> FeedEvent {
        match inbound {
            Inbound::Lost(reason) => {
                self.following = None;
                FeedEvent::LinkLost { reason }
            }
            Inbound::Restored(state, live, session) => {
                let (id, log) = (state.view.id, state.view.log.clone());
                let head = state.head.position;
                self.following = Some(Following { session, id, log, at: head, live });
                FeedEvent::LinkRestored { head }
            }
        }
    }

    /// Reads what is new, to its end.
    async fn follow(&mut self, token: &CancellationToken) {
        while !token.is_cancelled() {
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
                    if !events.is_empty() {
                        // A node that is behind is waited for: it is the log that keeps what comes.
                        tokio::select! {
                            _ = self.feed.send(events) => {}
                            () = token.cancelled() => return,
                            // The link is heard of, whoever does not read.
                            () = self.shared.closed_or_lost(&session) => return,
                        }
                    }
                    if !more {
                        return;
                    }
                }
                Err(failure) => {
                    session.notice(&failure);
                    if failure.absent {
                        session.ending.end(&failure.reason);
                    }
                    tracing::debug!(reason = %failure.reason, "the log cannot be followed now");
                    return;
                }
            }
        }
    }
}

impl Shared {
    /// Waits until another link is there, or none.
    async fn closed_or_lost(&self, session: &Arc<Session>) {
        let mut sessions = self.session.subscribe();
        let other =
            |now: &Option<Arc<Session>>| now.as_ref().is_none_or(|now| !Arc::ptr_eq(now, session));
        // It fails only where the backend is gone.
        let _ = sessions.wait_for(other).await;
    }
}

impl Following {
    /// One page of entries and of live messages. Returns whether there may be more.
    async fn step(&mut self, shared: &Shared) -> Result<(Vec<FeedEvent>, bool), Failure> {
        let client = &self.session.follower;
        let after = signed(self.at.seq);
        let values: [(&(dyn ToSql + Sync), Type); 4] = [
            (&self.id, Type::INT4),
            (&after, Type::INT8),
            (&self.live, Type::INT8),
            (&PAGE, Type::INT4),
        ];
        let rows = timed(shared.config.timeout, client.query_typed(FOLLOW, &values)).await?;
        let (first, rows) =
            rows.split_first().ok_or_else(|| Failure::of_link("the log is another one now"))?;
        if first.get::<_, &str>(4) != self.log {
            return Err(Failure::of_link("the log is another one now"));
        }
        let epoch: Epoch = crate::log::parse_epoch(first.get(5))?;
        if epoch != self.at.epoch && self.enter(shared, epoch).await? {
            return Ok((Vec::new(), true));
        }
        self.at.epoch = epoch;
        let mut events = Vec::with_capacity(rows.len());
        let (mut entries, mut live) = (0, 0);
        for row in rows {
            let record: &[u8] = row.get(3);
            if row.get::<_, &str>(0) == "e" {
                entries += 1;
                self.at.seq = unsigned(row.get(1));
                let appended = LogTime::from_millis(row.get(2));
                push(shared, &mut events, self.at, appended, record);
                continue;
            }
            live += 1;
            self.live = row.get(1);
            let Ok(record) = wire::decode(record.to_vec().into()) else { continue };
            let (origin, envelope) = (record.origin, record.envelope);
            if origin.node != shared.node && shared.wants(&envelope.topic) {
                events.push(FeedEvent::Live(LiveMessage { origin, envelope }));
            }
        }
        Ok((events, entries == PAGE || live == PAGE))
    }

    /// Goes on in another epoch. Returns whether that begins below where this one was.
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
            Place::Unknown => 0,
        };
        let back = seq < self.at.seq;
        self.at = Position::new(epoch, seq);
        Ok(back)
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
