//! What a stream knows of its own replay and gaps.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Cursor, Lane, LogTime, Position, Topic};

use super::Wish;
use crate::delivery::{Delivery, Gap, GapReason, Message, Reconnected, Snapshot};
use crate::frame::Frame;
use crate::shared::{SnapshotReason, SnapshotRequest};

/// What the client is told at the end of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum End {
    /// Nothing (any more).
    #[default]
    Nothing,
    /// Where it stands: it began with the oldest.
    Cursor,
    /// How the resume went.
    Reconnected,
}

/// A replay under way: what the client will be told when it ends.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// It ends once everything up to this seq has been delivered.
    pub(super) until: u64,
    pub(super) end: End,
    pub(super) delivered: u64,
    pub(super) dropped: u64,
    /// When the first of them was stored.
    pub(super) first: Option<LogTime>,
    /// Gaps that no snapshot bridges.
    pub(super) open_gaps: u64,
    /// Topics whose state was sent as a snapshot taken at this seq: what is older is in it.
    pub(super) bridged: HashMap<Topic, u64>,
    /// Floors that were told, by lane.
    pub(super) told: HashMap<Lane, u64>,
    /// The horizon that was told.
    pub(super) told_horizon: u64,
}

impl Replay {
    /// Whether a snapshot of its topic holds an entry already.
    pub(super) fn is_bridged(&self, frame: &Frame, seq: u64) -> bool {
        self.bridged.get(&frame.envelope.topic).is_some_and(|taken| seq <= *taken)
    }

    /// The log went over to another epoch after `at`; `known` if this one is an ancestor of it.
    /// What counts in the numbers of this one holds as far as both have the same entries.
    pub(super) fn crossed(&mut self, at: u64, known: bool) {
        // What it waited for beyond the fork is not in the log any more.
        self.until = self.until.min(at);
        let shared = if known { at } else { 0 };
        let told = self.told.values_mut().chain([&mut self.told_horizon]);
        self.bridged.values_mut().chain(told).for_each(|seq| *seq = shared.min(*seq));
    }

    /// Counts a message on its way to the client, which was stored then.
    pub(super) fn delivers(&mut self, appended: LogTime) {
        self.first.get_or_insert(appended);
        self.delivered += 1;
    }
}

impl Wish {
    /// What the client is told at the end of the replay, once; `here` is what it has.
    pub(super) fn end(&self, replay: &mut Replay, here: Position) -> Option<Delivery> {
        let cursor = Cursor(Position::new(here.epoch, here.seq.max(replay.until)));
        match std::mem::take(&mut replay.end) {
            End::Nothing => None,
            End::Cursor => Some(Delivery::Cursor(cursor)),
            End::Reconnected => Some(Delivery::Reconnected(Reconnected {
                delivered: replay.delivered,
                dropped: replay.dropped,
                complete: replay.open_gaps == 0 && replay.dropped == 0,
                behind: replay.first.map(|first| self.age(first)),
                cursor,
            })),
        }
    }

    /// How long ago something was stored, on the log's clock.
    fn age(&self, stored: LogTime) -> Duration {
        let millis = self.node.clock.now().as_millis().saturating_sub(stored.as_millis());
        Duration::from_millis(u64::try_from(millis).unwrap_or_default())
    }

    /// Whether a lane is one this subscriber follows.
    pub(super) fn wants(&self, lane: &Lane) -> bool {
        lane.scope == self.scope && self.wanted.filters.matches(&lane.topic)
    }

    /// The filters as text: the topics of a gap that may concern any of them.
    pub(super) fn all_topics(&self) -> Vec<String> {
        self.filters.iter().map(ToString::to_string).collect()
    }

    /// A gap event, counted.
    pub(super) fn gap(&self, reason: GapReason, last: String, topics: Vec<String>) -> Delivery {
        self.node.tallies.gaps.one();
        Delivery::Gap(Gap { reason, last_event_id: last, topics })
    }

    /// A message of this subscriber, unless it has expired.
    pub(super) fn message(&self, frame: Arc<Frame>) -> Option<Delivery> {
        let expired = frame.expires.is_some_and(|expires| expires <= self.node.clock.now());
        (!expired).then_some(Delivery::Message(Message(frame)))
    }

    /// Asks the application for the state of `topic`.
    pub(super) async fn snapshot(&self, topic: Topic, reason: SnapshotReason) -> Option<Delivery> {
        let ask = self.node.snapshot.as_ref()?;
        let request = SnapshotRequest { topic: topic.clone(), scope: self.scope.clone(), reason };
        let envelope = match ask(request).await?.into_envelope(topic) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::error!(%error, "a snapshot was refused: the gap stays open");
                return None;
            }
        };
        Some(Delivery::Snapshot(Snapshot {
            topic: envelope.topic,
            data: envelope.data,
            event: envelope.event,
        }))
    }
}
