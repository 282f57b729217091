//! From history to the ring.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Cursor, Place, Position};
use tokio::sync::mpsc;

use super::cut::Cut;
use super::gaps::{End, Replay};
use super::{Handover, Wish};
use crate::backoff::Backoff;
use crate::delivery::{Delivery, GapReason, Truncated};
use crate::interest::{Interested, Lows};
use crate::pages::{HistoryItem, HistoryPage};
use crate::ring::{Follow, Following};

/// How long to wait for the ring before history is asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A stretch of a stream that needs the backend.
pub(super) struct Trip {
    pub(super) wish: Arc<Wish>,
    pub(super) lows: Lows,
    pub(super) cut: Cut,
    /// The ring's offset at which the stream began.
    pub(super) since: u64,
    follow: Follow,
    sender: mpsc::Sender<Vec<Delivery>>,
}

impl Trip {
    pub(super) fn new(
        wish: &Arc<Wish>,
        following: &Following,
        interested: &Interested,
        sender: mpsc::Sender<Vec<Delivery>>,
    ) -> Self {
        let (wish, follow) = (Arc::clone(wish), following.follow.clone());
        Self {
            wish,
            lows: interested.lows(),
            cut: Cut::default(),
            since: following.since,
            follow,
            sender,
        }
    }

    /// Hands deliveries to the stream, as fast as the client takes them.
    pub(super) async fn send(&self, batch: Vec<Delivery>) {
        if !batch.is_empty() {
            // The receiver goes away only together with this future.
            drop(self.sender.send(batch).await);
        }
    }

    /// Delivers history behind `position` until the ring can go on.
    pub(super) async fn go(
        self,
        mut position: Position,
        replay: Option<Box<Replay>>,
        reason: GapReason,
    ) -> Handover {
        let replays = replay.is_some();
        let mut replay = replay.unwrap_or_default();
        let mut kept = Kept::new(&self.wish, &replay);
        let mut backoff = Backoff::default();
        let mut progress = self.wish.node.ring.progress();
        loop {
            if kept.is_some() && position.seq >= replay.until {
                self.give_out(&mut kept, &mut replay).await;
            }
            if self.cut.of(position.epoch).is_some_and(|end| position.seq >= end) {
                position = self.wait_for_append(position, &mut replay).await;
                continue;
            }
            progress.mark_unchanged();
            // Below the end of a log that lost its tail, the ring would go on with the tail.
            if kept.is_none()
                && self.cut.of(position.epoch).is_none()
                && self.lows.complete_above(position)
                && let Some(at) = self.wish.node.ring.enter(&self.follow, position)
            {
                return Handover { at, position, replay: replays.then_some(replay) };
            }
            let head = self.wish.node.known().map_or(0, |head| head.position.seq);
            let head = head.max(replay.until);
            let pages = &self.wish.node.pages;
            let page = match pages.get(position.epoch, position.seq, head, &self.wish.wanted).await
            {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(%error, "a stream waits for history");
                    tokio::time::sleep(backoff.next()).await;
                    continue;
                }
            };
            backoff.reset();
            if page.page.epoch != position.epoch {
                position = self.cross(position, &mut replay).await;
                continue;
            }
            let before = position.seq;
            position = self.deliver(&page, position, &mut replay, &mut kept, reason).await;
            if position.seq == before {
                // At the log's head, and the ring not there yet.
                drop(tokio::time::timeout(LOOK_AGAIN, progress.changed()).await);
            }
        }
    }

    /// The log went over to another epoch under the reader.
    pub(super) async fn cross(&self, position: Position, replay: &mut Replay) -> Position {
        let head = self.head().await;
        let (now, lineage) = (head.position, &head.lineage);
        if now.epoch == position.epoch {
            return position;
        }
        let (seq, lost) = match lineage.locate(position, now.seq) {
            Place::At { seq, lost } => (seq, lost.is_some()),
            Place::Beyond { fork } => (fork, true),
            Place::Unknown => (now.seq, true),
        };
        let end = match lineage.locate(Position::new(position.epoch, u64::MAX), now.seq) {
            Place::Beyond { fork } => Some(fork),
            Place::At { .. } | Place::Unknown => None,
        };
        replay.crossed(end.unwrap_or(now.seq), end.is_some());
        let lost = lost || self.lost_untold(position.epoch, &head);
        if lost && !self.told_of_fork(position, &head, replay) {
            let last = Cursor(position).to_string();
            self.tell_gap(replay, GapReason::Epoch, last, self.wish.all_topics()).await;
        }
        Position::new(now.epoch, seq)
    }

    async fn deliver(
        &self,
        page: &HistoryPage,
        position: Position,
        replay: &mut Replay,
        kept: &mut Option<Kept>,
        reason: GapReason,
    ) -> Position {
        self.tell_floors(page, position, replay, reason).await;
        let mut here = position;
        let mut out = Vec::new();
        // What lies beyond a replay with a maximum comes once that has been given out.
        let to = if kept.is_some() { page.page.to.min(replay.until) } else { page.page.to };
        let to = to.min(self.cut.of(position.epoch).unwrap_or(to));
        let news = page.items.iter().skip_while(|item| item.seq() <= position.seq);
        for item in news.take_while(|item| item.seq() <= to) {
            if item.seq() > replay.until {
                out.extend(self.wish.end(replay, here));
            }
            match item {
                HistoryItem::Frame(seq, frame) => {
                    here.seq = *seq;
                    let wanted = self.wish.wants_message(&frame.envelope);
                    if !wanted || replay.is_bridged(frame, *seq) {
                        continue;
                    }
                    let Some(message) = self.wish.message(Arc::clone(frame)) else { continue };
                    if let Some(kept) = kept {
                        replay.first.get_or_insert(frame.appended);
                        kept.keep(message);
                    } else {
                        replay.delivers(frame.appended);
                        out.push(message);
                    }
                }
                HistoryItem::Undecodable(seq, lane) => {
                    if lane.as_ref().is_none_or(|lane| self.wish.wants(lane)) {
                        let topics = lane.as_ref().map(|lane| vec![lane.topic.to_string()]);
                        let topics = topics.unwrap_or_else(|| self.wish.all_topics());
                        replay.open_gaps += 1;
                        let last = Cursor(here).to_string();
                        out.push(self.wish.gap(GapReason::Format, last, topics));
                    }
                    here.seq = *seq;
                }
            }
        }
        self.send(out).await;
        Position::new(position.epoch, position.seq.max(to))
    }

    /// Tells what was removed above `position` of the lanes this subscriber follows.
    async fn tell_floors(
        &self,
        page: &HistoryPage,
        position: Position,
        replay: &mut Replay,
        reason: GapReason,
    ) {
        let topics = self.wish.removed(&page.page, position.seq, replay);
        if !topics.is_empty() {
            self.tell_gap(replay, reason, Cursor(position).to_string(), topics).await;
        }
    }

    /// Ends a replay that was kept back: its newest part, and what was left out before it.
    async fn give_out(&self, kept: &mut Option<Kept>, replay: &mut Replay) {
        let Some(Kept { messages, dropped, .. }) = kept.take() else { return };
        let delivered = u64::try_from(messages.len()).unwrap_or(u64::MAX);
        replay.delivered += delivered;
        replay.dropped += dropped;
        if dropped > 0 {
            self.send(vec![Delivery::Truncated(Truncated { delivered, dropped })]).await;
        }
        self.send(messages.into()).await;
    }
}

/// The newest part of a replay with a maximum.
struct Kept {
    most: usize,
    messages: VecDeque<Delivery>,
    dropped: u64,
}

impl Kept {
    fn new(wish: &Wish, replay: &Replay) -> Option<Self> {
        let most = wish.node.config.max_replay?;
        (replay.end != End::Nothing).then(|| Self { most, messages: VecDeque::new(), dropped: 0 })
    }

    fn keep(&mut self, message: Delivery) {
        self.messages.push_back(message);
        if self.messages.len() > self.most {
            self.messages.pop_front();
            self.dropped += 1;
        }
    }
}
