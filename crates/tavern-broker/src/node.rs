//! The node's reader: turns the backend's feed into the ring, and repairs what the feed lost.
//!
//! It never waits for a subscriber. It waits for the backend only where it can do nothing else:
//! to learn where the log stands, at the start and when the log forked.

mod fork;
mod probe;
mod pulse;
mod repair;

use std::fmt;
use std::future::pending;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tavern_backend::{BusFeed, Epoch, FeedEvent, Head, HealthWatch, LiveMessage, Position};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::delivery::GapReason;
use crate::frame::Frame;
use crate::marker::Marker;
use crate::ring::Arrival;
use crate::sequencer::{Sequencer, Step};
use crate::shared::Node;

use probe::Doubt;
use pulse::Pulse;
use repair::Repair;

/// The task that owns the feed.
pub(crate) struct Reader {
    node: Arc<Node>,
    feed: BusFeed,
    health: HealthWatch,
    token: CancellationToken,
    epoch: Epoch,
    sequencer: Sequencer,
    repair: Repair,
    /// The head at the last probe: by the next one the feed must have brought it.
    probed: u64,
    /// The probe that is under way.
    probing: Option<BoxFuture<'static, Option<Arc<Head>>>>,
    /// What the feed brings, beside what the log has.
    pulse: Pulse,
    /// What is believed to be wrong with the backend although its link is up.
    doubt: Option<Doubt>,
    /// When this node sends a canary, if nothing comes until then.
    canary_at: Option<Instant>,
    /// The canary that is under way.
    canary: Option<BoxFuture<'static, ()>>,
    /// Since when the backend is away, or does not deliver.
    down_since: Option<Instant>,
    /// Steps of the moment, kept for their allocation.
    steps: Vec<Step>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("watermark", &self.watermark()).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(node: Arc<Node>, feed: BusFeed) -> Self {
        let token = node.tasks.token().clone();
        Self {
            health: node.bus.health(),
            epoch: Epoch::from_u64(0),
            sequencer: Sequencer::new(0, node.config.pending_entries),
            repair: Repair::default(),
            probed: 0,
            probing: None,
            pulse: Pulse::new(node.config.probe_interval, Instant::now()),
            doubt: None,
            canary_at: None,
            canary: None,
            down_since: None,
            steps: Vec::new(),
            token,
            feed,
            node,
        }
    }

    /// Runs until the node closes or the feed ends.
    pub(crate) async fn run(mut self) {
        let token = self.token.clone();
        tokio::select! {
            biased;
            () = token.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        self.begin().await;
        loop {
            let silent_at = self.silent_at();
            tokio::select! {
                // Whatever is before the feed waits for its turn itself, so that the feed gets its
                // own; and a simulation runs the same way twice.
                biased;
                health = self.health.changed() => {
                    let Some(health) = health else { return };
                    self.link_changed(&health);
                }
                head = answer(&mut self.probing) => self.probed(head).await,
                page = answer(&mut self.repair.reading) => self.repaired(page).await,
                () = sleep_until(self.pulse.next()), if self.probing.is_none() => self.probe(),
                () = at(silent_at) => self.silent(),
                () = at(self.canary_at) => self.send_canary(),
                () = answer(&mut self.canary) => {}
                batch = self.feed.recv() => {
                    let Some(batch) = batch else { return };
                    self.take_in(batch).await;
                }
            }
            self.plan_repair();
        }
    }

    /// Waits until the log was reached: what it holds by then is history to this node.
    async fn begin(&mut self) {
        let mut backoff = Backoff::default();
        self.note_health();
        loop {
            let patience = self.node.config.repair_patience;
            match tokio::time::timeout(patience, self.node.heads.now()).await {
                Ok(Ok(head)) => {
                    self.epoch = head.position.epoch;
                    let limit = self.node.config.pending_entries;
                    self.sequencer = Sequencer::new(head.position.seq, limit);
                    self.probed = head.position.seq;
                    self.pulse = Pulse::new(self.node.config.probe_interval, Instant::now());
                    self.pulse.begin(head.position.seq);
                    self.node.ring.begin(head.position);
                    self.node.interest.followed(&head.lineage);
                    self.node.learn(head);
                    return;
                }
                Ok(Err(error)) => tracing::warn!(%error, "the log cannot be reached yet"),
                Err(_) => tracing::warn!(?patience, "the log does not answer yet"),
            }
            tokio::time::sleep(backoff.next()).await;
            self.note_health();
        }
    }

    async fn take_in(&mut self, batch: Vec<FeedEvent>) {
        let mut arrivals = Vec::with_capacity(batch.len());
        for event in batch {
            if let Some(position) = position_of(&event)
                && position.epoch != self.epoch
            {
                self.flush(&mut arrivals);
                if !self.follow_to(position).await {
                    continue;
                }
            }
            self.take_in_one(event, &mut arrivals);
        }
        self.flush(&mut arrivals);
    }

    fn take_in_one(&mut self, event: FeedEvent, arrivals: &mut Vec<Arrival>) {
        let mut steps = std::mem::take(&mut self.steps);
        self.listen(&event);
        match event {
            FeedEvent::Entry(entry) => {
                self.sequencer.push(entry.position.seq, Step::Entry(entry), &mut steps);
            }
            FeedEvent::Skip { from, to, .. } => {
                self.sequencer.push(from, Step::Skip { to }, &mut steps);
            }
            FeedEvent::Undecodable { position, lane, reason } => {
                self.node.found_unreadable(format!("{position}: {reason}"));
                let seq = position.seq;
                self.sequencer.push(seq, Step::Undecodable { seq, lane }, &mut steps);
            }
            FeedEvent::Live(message) => arrivals.push(self.live(message)),
            FeedEvent::LinkLost { reason } => {
                tracing::warn!(%reason, "the link to the backend was lost");
            }
            FeedEvent::LinkRestored { head } if head.epoch == self.epoch => {
                self.sequencer.reach(head.seq);
            }
            // A newer contract's event that this reader does not know changes nothing it promises:
            // what it may have carried is found by counting.
            _ => {}
        }
        self.place(&mut steps, arrivals);
        self.steps = steps;
    }

    fn live(&self, message: LiveMessage) -> Arrival {
        let envelope = message.envelope;
        let expires = envelope.ttl.map(|ttl| self.node.clock.now().after(ttl));
        Arrival::Live(Arc::new(Frame::live(envelope, expires)))
    }

    /// Turns steps, which are in order, into arrivals.
    fn place(&self, steps: &mut Vec<Step>, arrivals: &mut Vec<Arrival>) {
        for step in steps.drain(..) {
            match step {
                Step::Entry(entry) => {
                    self.node.tallies.entries.one();
                    if entry.envelope().topic.is_reserved() {
                        arrivals.push(Arrival::Advance(entry.position.seq));
                        continue;
                    }
                    arrivals.push(Arrival::Entry(Arc::new(Frame::entry(&entry))));
                }
                Step::Skip { to } => arrivals.push(Arrival::Advance(to)),
                Step::Undecodable { seq, lane } => {
                    self.node.tallies.undecodable.one();
                    let lanes = lane.map(|lane| vec![lane]);
                    let reason = GapReason::Format;
                    arrivals.push(Arrival::Advance(seq));
                    arrivals.push(Arrival::Marker(Marker::Gap { reason, lanes }));
                }
                Step::Lost { to } => {
                    self.node.tallies.holes_lost.one();
                    let reason = GapReason::Outage;
                    arrivals.push(Arrival::Advance(to));
                    arrivals.push(Arrival::Marker(Marker::Gap { reason, lanes: None }));
                }
            }
        }
    }

    fn flush(&mut self, arrivals: &mut Vec<Arrival>) {
        self.node.extent.heard(Position::new(self.epoch, self.sequencer.target()));
        let tallies = &self.node.tallies;
        tallies.duplicate_pushes.add(std::mem::take(&mut self.sequencer.duplicates));
        tallies.pending_overflow.add(std::mem::take(&mut self.sequencer.overflow));
        if !arrivals.is_empty() {
            self.node.ring.append(arrivals.drain(..));
        }
    }

    /// What this node knows of the log.
    fn watermark(&self) -> Position {
        Position::new(self.epoch, self.sequencer.watermark())
    }

    /// What the log says of itself; `None` if it does not answer in time.
    fn ask_head(&self) -> impl Future<Output = Option<Arc<Head>>> + Send + use<> {
        let (heads, patience) = (self.node.heads.clone(), self.node.config.repair_patience);
        async move {
            match tokio::time::timeout(patience, heads.now()).await {
                Ok(Ok(head)) => Some(head),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the log's lineage cannot be read");
                    None
                }
                Err(_) => None,
            }
        }
    }
}

/// That moment; never, if there is none. Cancel safe.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

/// The answer of a call that is under way; never, if there is none. Cancel safe.
async fn answer<T>(call: &mut Option<BoxFuture<'static, T>>) -> T {
    let answer = match call {
        Some(call) => call.await,
        None => pending().await,
    };
    *call = None;
    answer
}

fn position_of(event: &FeedEvent) -> Option<Position> {
    match event {
        FeedEvent::Entry(entry) => Some(entry.position),
        FeedEvent::Skip { epoch, from, .. } => Some(Position::new(*epoch, *from)),
        FeedEvent::Undecodable { position, .. } => Some(*position),
        FeedEvent::LinkRestored { head } => Some(Position::new(head.epoch, head.seq + 1)),
        _ => None,
    }
}
