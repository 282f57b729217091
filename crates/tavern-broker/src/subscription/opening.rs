//! Where a stream begins: interest confirmed, head asked, the client's id placed in the log.

use std::pin::pin;
use std::sync::Arc;

use tavern_backend::{
    Cursor, Head, Lane, LastEventId, MessageId, Place, Position, Topic, TopicFilter,
};
use tokio::time::Instant;

use super::Handover;
use super::catch_up::Trip;
use super::gaps::{End, Replay};
use crate::backoff::Backoff;
use crate::delivery::{Degraded, Delivery, GapReason};
use crate::overlap;
use crate::shared::SnapshotReason;

/// Where the client wants to begin.
#[derive(Debug, Clone)]
pub(super) enum Start {
    Now,
    Oldest,
    After(LastEventId),
}

/// Opens the stream.
pub(super) async fn open(trip: Trip, start: Start, down_since: Option<Instant>) -> Handover {
    if let Some(since) = down_since {
        let backend = trip.wish.node.bus.info().name;
        trip.send(vec![Delivery::Degraded(Degraded { backend, since: since.elapsed() })]).await;
    }
    let head = trip.ready(down_since.is_some()).await;
    match start {
        Start::Now => trip.begin(head.position).await,
        Start::Oldest => trip.begin_with_oldest(head.position).await,
        Start::After(last) => trip.resume(last, &head).await,
    }
}

impl Trip {
    /// The log's head, asked once the interest was confirmed. The client is told if that takes
    /// longer than it should although the link is up; if it is down, the node tells.
    async fn ready(&self, told: bool) -> Arc<Head> {
        let (node, began) = (&self.wish.node, Instant::now());
        let mut ready = pin!(async {
            self.lows.confirmed().await;
            self.head().await
        });
        if let Ok(head) = tokio::time::timeout(node.config.open_patience, &mut ready).await {
            return head;
        }
        let tells = !told && node.bus.health().get().up;
        let state = || Degraded { backend: node.bus.info().name, since: began.elapsed() };
        if tells {
            self.send(vec![Delivery::Degraded(state())]).await;
        }
        let head = ready.await;
        if tells {
            self.send(vec![Delivery::Recovered(state())]).await;
        }
        head
    }

    /// `position` is taken before the snapshots: what is published meanwhile comes after them.
    async fn begin(self, position: Position) -> Handover {
        let topics = self.wish.filters.iter().filter_map(TopicFilter::as_topic);
        for topic in topics.collect::<Vec<_>>() {
            let snapshot = self.wish.snapshot(topic, SnapshotReason::Connect).await;
            self.send(snapshot.into_iter().collect()).await;
        }
        // After the snapshots: a client cut off among them begins anew.
        self.send(vec![Delivery::Cursor(Cursor(position))]).await;
        self.go(position, None, GapReason::Trimmed).await
    }

    async fn begin_with_oldest(self, head: Position) -> Handover {
        let replay = Replay::new(head.seq, End::Cursor);
        let position = Position::new(head.epoch, 0);
        self.go(position, Some(Box::new(replay)), GapReason::Trimmed).await
    }

    async fn resume(self, last: LastEventId, head: &Head) -> Handover {
        self.wish.node.tallies.resumes.one();
        let mut replay = Replay::new(head.position.seq, End::Reconnected);
        let (seq, gap) = self.place(&last, head).await;
        let position = Position::new(head.position.epoch, seq);
        if let Some(reason) = gap {
            replay.told_cut = self.cut_behind(&last, position);
            self.tell_gap(&mut replay, reason, last.to_string(), self.wish.all_topics()).await;
        } else if let Some(topics) = self.discarded(seq) {
            self.tell_gap(&mut replay, GapReason::Outage, last.to_string(), topics).await;
        }
        let live = self.live_filters(head);
        if !live.is_empty() {
            let open = replay.open_gaps;
            self.tell_gap(&mut replay, GapReason::Live, last.to_string(), live).await;
            // Completeness speaks of what can be complete.
            replay.open_gaps = open;
        }
        self.go(position, Some(Box::new(replay)), GapReason::Trimmed).await
    }

    /// The seq to go on after, and why that may be a gap.
    async fn place(&self, last: &LastEventId, head: &Head) -> (u64, Option<GapReason>) {
        let now = head.position.seq;
        match last {
            LastEventId::Cursor(cursor) => match head.lineage.locate(cursor.0, now) {
                Place::At { seq, lost } => {
                    let lost = lost.is_some() || self.lost_untold(cursor.0.epoch, head);
                    (seq, lost.then_some(GapReason::Epoch))
                }
                Place::Beyond { fork } => {
                    if cursor.0.epoch == head.position.epoch {
                        // The client itself proves that the log lost its end; pushes of that may be
                        // on their way to this node yet.
                        self.cut.set(Some(head.position));
                    }
                    (fork.min(now), Some(GapReason::Epoch))
                }
                Place::Unknown => (now, Some(GapReason::Epoch)),
            },
            LastEventId::Publisher(id) => match self.find(id).await {
                Some(seq) => (seq.min(now), None),
                None => (now, Some(GapReason::UnknownId)),
            },
            LastEventId::Unusable(_) => (now, Some(GapReason::UnknownId)),
        }
    }

    /// Looks for a publisher's id, which has a meaning only within one lane.
    async fn find(&self, id: &MessageId) -> Option<u64> {
        let topic = match self.wish.filters.as_slice() {
            [filter] => filter.as_topic()?,
            _ => return None,
        };
        let lane = Lane { topic, scope: self.wish.scope.clone() };
        let mut backoff = Backoff::default();
        loop {
            match self.wish.node.bus.find(&lane, id).await {
                Ok(seq) => return seq,
                Err(error) if error.is_transient() => tokio::time::sleep(backoff.next()).await,
                Err(_) => return None,
            }
        }
    }

    /// The filters that may match live topics.
    fn live_filters(&self, head: &Head) -> Vec<String> {
        let retention = &head.retention;
        let may_be_live = |filter: &&TopicFilter| match filter.as_topic() {
            Some(topic) => retention.of(&topic).is_live(),
            None => {
                retention.default.is_live()
                    || retention
                        .rules
                        .iter()
                        .any(|r| r.keep.is_live() && overlap::may_share(filter, &r.topics))
            }
        };
        self.wish.filters.iter().filter(may_be_live).map(ToString::to_string).collect()
    }

    /// Tells a gap that was met in the ring, bridges it, and goes on `behind` it: there, and not
    /// from history, which would tell of the same gap.
    pub(super) async fn bridge(
        self,
        mut behind: Handover,
        reason: GapReason,
        last: String,
        topics: Vec<String>,
    ) -> Handover {
        let mut replay = behind.replay.take().unwrap_or_default();
        self.tell_gap(&mut replay, reason, last, topics).await;
        Handover { replay: Some(replay), ..behind }
    }

    /// Tells a gap, and bridges what a snapshot can bridge.
    pub(super) async fn tell_gap(
        &self,
        replay: &mut Replay,
        reason: GapReason,
        last: String,
        topics: Vec<String>,
    ) {
        let exact: Vec<_> = topics.iter().filter_map(|topic| Topic::new(topic).ok()).collect();
        let mut open = topics.len() > exact.len();
        self.send(vec![self.wish.gap(reason, last, topics)]).await;
        if self.wish.node.snapshot.is_none() {
            replay.open_gaps += 1;
            return;
        }
        // Taken before the snapshots: what is published meanwhile comes after them.
        let taken = self.head().await.position.seq;
        for topic in exact {
            let asked = self.wish.snapshot(topic.clone(), SnapshotReason::Gap(reason)).await;
            match asked {
                Some(snapshot) => {
                    self.send(vec![snapshot]).await;
                    replay.bridged.insert(topic, taken);
                    replay.until = replay.until.max(taken);
                }
                None => open = true,
            }
        }
        replay.open_gaps += u64::from(open);
    }
}
