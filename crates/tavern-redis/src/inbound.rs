//! What comes in on the feed's connection, on its way to the node.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use tavern_backend::{
    Entry, Epoch, FeedEvent, FilterSet, LiveMessage, LogTime, Origin, Position, Topic, wire,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::link::Wish;
use crate::push::{Push, Spine, parse};
use crate::shared::Shared;

/// Pushes that wait to be taken apart.
const PUSHES: usize = 8192;
/// Bytes of them.
const BYTES: usize = 64 << 20;
/// Pushes taken apart at once.
const AT_ONCE: usize = 1024;
/// Between two complaints of being behind.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// Something that happened on the feed's connection.
#[derive(Debug)]
pub(crate) enum Inbound {
    Push(Bytes),
    Lost(Arc<str>),
    Restored(Position),
}

/// Where the connection puts what it gets; it never waits.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    queue: mpsc::Sender<Inbound>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

impl Intake {
    /// Takes a push. One that finds no room is dropped: who counts seqs finds out.
    pub(crate) fn push(&self, data: Vec<Value>) {
        let Some(Value::BulkString(bytes)) = data.into_iter().nth(1) else { return };
        let size = bytes.len();
        if self.waiting.fetch_add(size, Ordering::Relaxed) > BYTES
            || self.queue.try_send(Inbound::Push(bytes.into())).is_err()
        {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a notice, which is never dropped.
    pub(crate) async fn notice(&self, notice: Inbound) {
        // It fails only where the backend is closing.
        let _ = self.queue.send(notice).await;
    }
}

/// Entries that were pushed to others and not to this node, or got lost on the way.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) epoch: Epoch,
    pub(crate) seqs: BTreeSet<u64>,
    pub(crate) topics: FilterSet,
}

/// Takes pushes apart and hands them to the node.
#[derive(Debug)]
pub(crate) struct Decoder {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Inbound>,
    waiting: Arc<AtomicUsize>,
    /// Pushes that found no room since that was said last.
    dropped: Arc<AtomicU64>,
    /// When that was said last.
    complained: Option<Instant>,
    feed: mpsc::Sender<Vec<FeedEvent>>,
    /// Notices that found no room in it. No push overtakes them.
    owed: Vec<FeedEvent>,
    wishes: mpsc::WeakSender<Wish>,
    missing: mpsc::Sender<Missing>,
    epoch: Option<Epoch>,
    /// Seqs whose entries came, above the last spine.
    seen: BTreeSet<u64>,
    lately: Lately,
}

/// The live messages that came last: with a wildcard besides their topic they come twice.
#[derive(Debug, Default)]
struct Lately {
    known: HashSet<Origin>,
    order: VecDeque<Origin>,
}

impl Lately {
    /// Far more than can lie between a message and its copy, which one script call publishes.
    const MOST: usize = 4096;

    fn is_new(&mut self, origin: Origin) -> bool {
        if !self.known.insert(origin) {
            return false;
        }
        self.order.push_back(origin);
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl Decoder {
    pub(crate) fn new(
        shared: Arc<Shared>,
        feed: mpsc::Sender<Vec<FeedEvent>>,
        wishes: mpsc::WeakSender<Wish>,
        missing: mpsc::Sender<Missing>,
    ) -> (Self, Intake) {
        let (sender, queue) = mpsc::channel(PUSHES);
        let intake = Intake { queue: sender, waiting: Arc::default(), dropped: Arc::default() };
        let decoder = Self {
            shared,
            queue,
            waiting: Arc::clone(&intake.waiting),
            dropped: Arc::clone(&intake.dropped),
            complained: None,
            feed,
            owed: Vec::new(),
            wishes,
            missing,
            epoch: None,
            seen: BTreeSet::new(),
            lately: Lately::default(),
        };
        (decoder, intake)
    }

    pub(crate) async fn run(mut self, token: CancellationToken) {
        let mut inbound = Vec::new();
        loop {
            let received = tokio::select! {
                received = self.queue.recv_many(&mut inbound, AT_ONCE) => received,
                place = self.feed.reserve(), if !self.owed.is_empty() => {
                    // Nobody reads a feed that was dropped.
                    let owed = std::mem::take(&mut self.owed);
                    if let Ok(place) = place {
                        place.send(owed);
                    }
                    continue;
                }
                () = token.cancelled() => return,
            };
            if received == 0 {
                return;
            }
            let mut events = Events::default();
            for inbound in inbound.drain(..) {
                match inbound {
                    Inbound::Push(bytes) => {
                        self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
                        match parse(bytes) {
                            Some(push) => self.take(push, &mut events),
                            None => tracing::warn!("a push that cannot be read is left out"),
                        }
                    }
                    notice => {
                        self.give(&mut events);
                        self.seen.clear();
                        self.notice(match notice {
                            Inbound::Lost(reason) => FeedEvent::LinkLost { reason },
                            Inbound::Restored(head) => FeedEvent::LinkRestored { head },
                            Inbound::Push(_) => continue,
                        });
                    }
                }
            }
            self.give(&mut events);
            self.complain();
        }
    }

    /// Hands on a notice, or keeps it until there is room: nothing here waits for the feed's reader,
    /// and a node that only publishes has none.
    fn notice(&mut self, notice: FeedEvent) {
        // Of those that wait, a loss and the last return say it all.
        self.owed.retain(|owed| matches!(owed, FeedEvent::LinkLost { .. }));
        if self.owed.is_empty() || !matches!(notice, FeedEvent::LinkLost { .. }) {
            self.owed.push(notice);
        }
        if let Ok(place) = self.feed.try_reserve() {
            place.send(std::mem::take(&mut self.owed));
        }
    }

    fn give(&self, events: &mut Events) {
        let batch = std::mem::take(events).into_batch();
        let count = crate::number::count(batch.len());
        if count > 0 && (!self.owed.is_empty() || self.feed.try_send(batch).is_err()) {
            // The node is behind, or gone. What is missing is found by counting.
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Says, now and then, that this node is behind.
    fn complain(&mut self) {
        let lately = self.complained.is_some_and(|last| last.elapsed() < COMPLAINTS);
        if lately || self.feed.is_closed() {
            return;
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.complained = Some(Instant::now());
            tracing::warn!(
                dropped,
                "this node is behind: pushes found no room, and are read instead"
            );
        }
    }

    fn enter(&mut self, epoch: Epoch) {
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.seen.clear();
        }
    }

    fn take(&mut self, push: Push, events: &mut Events) {
        match push {
            Push::Payloads { epoch, time, records } => {
                self.enter(epoch);
                for (seq, record) in records {
                    self.seen.insert(seq);
                    events.put(seq, event(Position::new(epoch, seq), time, record));
                }
            }
            Push::Live { origin, record } => {
                if origin.node != self.shared.node
                    && self.lately.is_new(origin)
                    && let Ok(record) = wire::decode(record)
                {
                    let envelope = record.envelope;
                    events.live.push(FeedEvent::Live(LiveMessage { origin, envelope }));
                }
            }
            Push::Spine(spine) => self.count(&spine, events),
        }
    }

    /// Goes through the seqs of a batch: which are of no interest, and which should have come.
    fn count(&mut self, spine: &Spine, events: &mut Events) {
        self.enter(spine.epoch);
        let (mut wanted, mut unheld) = (Vec::with_capacity(spine.lanes.len()), Vec::new());
        {
            let interest = self.shared.interest.lock();
            for (_, lane) in &spine.lanes {
                wanted.push(lane.as_ref().is_none_or(|lane| interest.filters.matches(&lane.topic)));
                let topic = lane.as_ref().map(|lane| &lane.topic);
                unheld.extend(
                    topic.filter(|t| interest.filters.matches(t) && !interest.holds(t)).cloned(),
                );
            }
        }
        let (mut missing, mut topics) = (BTreeSet::new(), FilterSet::default());
        for (seq, number) in spine.seqs() {
            if self.seen.contains(&seq) {
                continue;
            }
            let lane = &spine.lanes[usize::from(number)].1;
            match lane {
                _ if !wanted[usize::from(number)] => events.skip(spine.epoch, seq),
                Some(lane) => {
                    missing.insert(seq);
                    topics.insert(lane.topic.clone().into());
                }
                None => events.put(
                    seq,
                    FeedEvent::Undecodable {
                        position: Position::new(spine.epoch, seq),
                        lane: None,
                        reason: "its topic cannot be read".into(),
                    },
                ),
            }
        }
        self.seen = self.seen.split_off(&(spine.last() + 1));
        if !missing.is_empty() {
            // Where this finds no room, the node itself reads the hole a moment later.
            let _ = self.missing.try_send(Missing { epoch: spine.epoch, seqs: missing, topics });
        }
        if !unheld.is_empty()
            && let Some(wishes) = self.wishes.upgrade()
        {
            // Asked again with the next entry of the topic if there is no room now.
            let _ = wishes.try_send(Wish::Hold(dedup(unheld)));
        }
    }
}

fn dedup(mut topics: Vec<Topic>) -> Vec<Topic> {
    topics.sort_unstable();
    topics.dedup();
    topics
}

/// An entry, or why it is none.
#[expect(clippy::needless_pass_by_value, reason = "the payload shares the record's memory")]
pub(crate) fn event(position: Position, appended: LogTime, record: Bytes) -> FeedEvent {
    match wire::decode(record.clone()) {
        Ok(record) => FeedEvent::Entry(Arc::new(Entry { position, appended, record })),
        Err(error) => FeedEvent::Undecodable {
            position,
            lane: wire::lane(&record),
            reason: error.to_string().into(),
        },
    }
}

/// Events that came together, to be handed over in order.
#[derive(Debug, Default)]
struct Events {
    by_seq: BTreeMap<u64, FeedEvent>,
    /// Of another epoch than those before: handed over behind them.
    before: Vec<FeedEvent>,
    epoch: Option<Epoch>,
    live: Vec<FeedEvent>,
}

impl Events {
    fn put(&mut self, seq: u64, event: FeedEvent) {
        let epoch = match &event {
            FeedEvent::Entry(entry) => entry.position.epoch,
            FeedEvent::Undecodable { position, .. } => position.epoch,
            FeedEvent::Skip { epoch, .. } => *epoch,
            _ => return,
        };
        if self.epoch.is_some_and(|old| old != epoch) {
            self.before.extend(std::mem::take(&mut self.by_seq).into_values());
        }
        self.epoch = Some(epoch);
        self.by_seq.insert(seq, event);
    }

    fn skip(&mut self, epoch: Epoch, seq: u64) {
        self.put(seq, FeedEvent::Skip { epoch, from: seq, to: seq });
    }

    fn into_batch(self) -> Vec<FeedEvent> {
        let mut batch = self.before;
        for event in self.by_seq.into_values() {
            if let (
                Some(FeedEvent::Skip { epoch, to, .. }),
                FeedEvent::Skip { epoch: next, from, to: end },
            ) = (batch.last_mut(), &event)
                && epoch == next
                && *to + 1 == *from
            {
                *to = *end;
            } else {
                batch.push(event);
            }
        }
        batch.extend(self.live);
        batch
    }
}
