//! The node's reader: turns the backend's feed into the ring, and repairs what the feed lost.
//!
//! It never waits for a subscriber. It waits for the backend only where it can do nothing else:
//! to learn where the log stands, at the start and when the log forked.

mod fork;
mod repair;

use std::fmt;
use std::future::pending;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tavern_backend::{BusFeed, Epoch, FeedEvent, Head, HealthWatch, LiveMessage, Position};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::delivery::GapReason;
use crate::frame::Frame;
use crate::marker::Marker;
use crate::ring::Arrival;
use crate::sequencer::{Sequencer, Step};
use crate::shared::Node;

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
    /// Since when the backend is away.
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
        let mut probe = tokio::time::interval(self.node.config.probe_interval);
        // After a pause of the process one probe is as good as many.
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        probe.reset();
        loop {
            tokio::select! {
                // Whatever is before the feed waits for its turn itself, so that the feed gets its
                // own; and a simulation runs the same way twice.
                biased;
                health = self.health.changed() => {
                    let Some(health) = health else { return };
                    self.health_changed(health.up, health.since);
                }
                head = answer(&mut self.probing) => self.probed(head),
                page = answer(&mut self.repair.reading) => self.repaired(page).await,
                _ = probe.tick(), if self.probing.is_none() => self.probe(),
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

    /// Asks for the log's head, without waiting for the answer.
    fn probe(&mut self) {
        self.probing = Some(self.ask_head().boxed());
    }

    /// Compares the log's head with what the feed brought: what the log had at the last probe and
    /// the feed has not brought by now was lost.
    fn probed(&mut self, head: Option<Arc<Head>>) {
        let Some(head) = head else { return };
        if head.position.epoch == self.epoch {
            self.sequencer.reach(self.probed.min(head.position.seq));
            self.probed = head.position.seq;
        } else {
            self.follow(&head, None);
        }
        self.node.learn(head);
    }

    fn note_health(&mut self) {
        let health = self.health.get();
        self.health_changed(health.up, health.since);
    }

    fn health_changed(&mut self, up: bool, since: Instant) {
        match (up, self.down_since) {
            (false, None) => {
                self.down_since = Some(since);
                self.node.ring.append([Arrival::Marker(Marker::Degraded { since })]);
            }
            (true, Some(down)) => {
                self.down_since = None;
                let after = down.elapsed();
                self.node.ring.append([Arrival::Marker(Marker::Recovered { after })]);
            }
            _ => {}
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
