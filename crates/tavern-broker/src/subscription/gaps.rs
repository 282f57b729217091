//! What a stream knows of its own replay and gaps.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Cursor, Lane, LogTime, MessageEnvelope, Page, Position, Topic, TopicFilter};

use super::Wish;
use crate::delivery::{Delivery, Gap, GapReason, Message, Reconnected, Snapshot};
use crate::frame::Frame;
use crate::shared::{SnapshotReason, SnapshotRequest};

/// The most topics that a gap names one by one.
const NAMED_TOPICS: usize = 64;

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
    /// It was told here that the log has lost its tail, up to this seq.
    pub(super) told_cut: Option<(Position, u64)>,
    /// It asked for what there is: what is not there any more when it begins is no gap.
    begins: bool,
    /// Floors that were told, by lane.
    told: HashMap<Lane, u64>,
    /// Up to here it was told that anything may be missing.
    told_horizon: u64,
}

impl Replay {
    pub(super) fn new(until: u64, end: End) -> Self {
        Self { until, end, begins: end == End::Cursor, ..Self::default() }
    }

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

    /// Whether it was not told yet that entries of `lane` are missing up to `floor`; it counts as
    /// told from now on.
    fn is_news(&mut self, lane: &Lane, floor: u64) -> bool {
        if floor <= self.told_horizon || self.told.get(lane).is_some_and(|told| floor <= *told) {
            return false;
        }
        self.told.insert(lane.clone(), floor);
        true
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

    /// Whether a message lies in such a lane.
    pub(super) fn wants_message(&self, envelope: &MessageEnvelope) -> bool {
        envelope.scope == self.scope && self.wanted.filters.matches(&envelope.topic)
    }

    /// The topics of those of `lanes` that this subscriber follows; its filters if they are unknown.
    pub(super) fn topics_of(&self, lanes: Option<&[Lane]>) -> Vec<String> {
        let Some(lanes) = lanes else { return self.all_topics() };
        let wanted = lanes.iter().filter(|lane| self.wants(lane));
        self.names(&wanted.map(|lane| &lane.topic).collect::<Vec<_>>())
    }

    /// What a gap calls `topics`: their names, or if they are many, those of its filters that
    /// match them.
    fn names(&self, topics: &[&Topic]) -> Vec<String> {
        if topics.len() <= NAMED_TOPICS {
            return topics.iter().map(ToString::to_string).collect();
        }
        let exact: HashSet<&str> = topics.iter().map(|topic| topic.as_str()).collect();
        let concerned = |filter: &&TopicFilter| match filter.as_topic() {
            Some(_) => exact.contains(filter.as_str()),
            None => topics.iter().any(|topic| filter.matches(topic)),
        };
        self.filters.iter().filter(concerned).map(ToString::to_string).collect()
    }

    /// Notes that `replay` was told in the ring: of `lanes`, or of any if they are unknown, entries
    /// up to `through` were removed.
    pub(super) fn told(&self, replay: &mut Replay, lanes: Option<&[Lane]>, through: u64) {
        let Some(lanes) = lanes else {
            return replay.told_horizon = replay.told_horizon.max(through);
        };
        for lane in lanes.iter().filter(|lane| self.wants(lane)) {
            replay.is_news(lane, through);
        }
    }

    /// The topics of which `page` says that entries above `here` were removed, and that `replay`
    /// was not told yet; its filters if they are unknown.
    pub(super) fn removed(&self, page: &Page, here: u64, replay: &mut Replay) -> Vec<String> {
        let floors = page.floors.iter().filter(|floor| floor.seq > here);
        let topics: Vec<_> = floors
            .filter(|floor| self.wants(&floor.lane) && replay.is_news(&floor.lane, floor.seq))
            .map(|floor| &floor.lane.topic)
            .collect();
        let unknown = page.horizon > here.max(replay.told_horizon);
        replay.told_horizon = replay.told_horizon.max(page.horizon);
        match (std::mem::take(&mut replay.begins), unknown) {
            (true, _) => Vec::new(),
            (false, true) => self.all_topics(),
            (false, false) => self.names(&topics),
        }
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
