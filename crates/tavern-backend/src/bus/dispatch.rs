//! From the node's feed to the subscriptions of single topics.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use super::subscription::Missed;
use super::{BusFeed, Shared};
use crate::{Entry, Error, FeedEvent, MessageEnvelope, NodeId, Position, Result, Topic};

/// How long to wait before interest is withdrawn again that could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// Who is subscribed to what.
#[derive(Debug, Default)]
pub(super) struct Dispatch {
    /// Guards who is there together with how far the feed was read.
    state: Mutex<State>,
    /// Tells the withdrawing task that there is something to withdraw.
    noted: Notify,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    closed: bool,
    topics: HashMap<Topic, Vec<Arc<Queue>>>,
    /// Topics that lost their last subscription and whose interest is still there.
    unused: HashSet<Topic>,
    /// All seqs after the first and up to the second have been seen.
    seen: Option<(Position, Position)>,
    /// Whether the link was lost and is not back yet.
    lost: bool,
}

impl Dispatch {
    /// Runs `start` unless it succeeded before.
    pub(super) fn start(&self, start: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        if !state.started {
            start()?;
            state.started = true;
        }
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn join(&self, topic: &Topic, queue: &Arc<Queue>) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        state.unused.remove(topic);
        state.topics.entry(topic.clone()).or_default().push(Arc::clone(queue));
        Ok(())
    }

    /// Interest was confirmed at `head`.
    pub(super) fn confirm(&self, head: Position, queue: &Queue) {
        let mut state = self.lock();
        match state.seen {
            None => state.seen = Some((head, head)),
            // The feed's first event came before this did, and from further on, or its epoch changed.
            Some((from, _)) if from.epoch != head.epoch || head.seq < from.seq => {
                queue.gap(Missed::Hole);
            }
            Some(_) => {}
        }
    }

    /// Takes a subscription out. Called from `Drop`: it only leaves a note.
    pub(super) fn leave(&self, topic: &Topic, queue: &Arc<Queue>) {
        let mut state = self.lock();
        let Some(queues) = state.topics.get_mut(topic) else { return };
        queues.retain(|other| !Arc::ptr_eq(other, queue));
        if queues.is_empty() {
            state.topics.remove(topic);
            state.unused.insert(topic.clone());
            self.noted.notify_one();
        }
    }

    /// Ends all subscriptions to `topic`.
    pub(super) fn end(&self, topic: &Topic) {
        let mut state = self.lock();
        if let Some(queues) = state.topics.remove(topic) {
            queues.iter().for_each(|queue| queue.end());
            state.unused.insert(topic.clone());
            self.noted.notify_one();
        }
    }

    /// Topics whose interest is to be withdrawn now.
    pub(super) fn take_unused(&self) -> HashSet<Topic> {
        std::mem::take(&mut self.lock().unused)
    }

    /// Notes topics again whose interest could not be withdrawn.
    pub(super) fn note(&self, topics: HashSet<Topic>) {
        let mut state = self.lock();
        let unused = topics.into_iter().filter(|topic| !state.topics.contains_key(topic));
        let unused: Vec<_> = unused.collect();
        state.unused.extend(unused);
        self.noted.notify_one();
    }

    /// Ends everything: nobody joins any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for queue in state.topics.drain().flat_map(|(_, queues)| queues) {
            queue.end();
        }
    }

    /// Reads the feed until it ends.
    pub(super) async fn run(
        self: Arc<Self>,
        mut feed: BusFeed,
        node: NodeId,
        token: CancellationToken,
    ) {
        loop {
            let batch = tokio::select! {
                biased;
                batch = feed.recv() => batch,
                () = token.cancelled() => None,
            };
            let Some(batch) = batch else { break };
            let mut state = self.lock();
            for event in batch {
                state.take(event, node);
            }
        }
        self.close();
    }

    /// Withdraws interest when there is a note, until the bus is closed or gone.
    pub(super) async fn withdraw(self: Arc<Self>, bus: Weak<Shared>, token: CancellationToken) {
        loop {
            tokio::select! {
                () = self.noted.notified() => {}
                () = token.cancelled() => return,
            }
            let Some(shared) = bus.upgrade() else { return };
            match shared.withdraw().await {
                Ok(()) => {}
                Err(Error::Closed) => return,
                Err(error) => {
                    tracing::debug!(%error, "interest could not be withdrawn yet");
                    drop(shared);
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN) => {}
                        () = token.cancelled() => return,
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, event: FeedEvent, node: NodeId) {
        match event {
            FeedEvent::Entry(entry) => {
                if self.advance(entry.position, entry.position.seq) {
                    self.deliver(&entry, node);
                }
            }
            FeedEvent::Skip { epoch, from, to } => {
                self.advance(Position::new(epoch, from), to);
            }
            FeedEvent::Undecodable { position, lane, .. } => {
                if self.advance(position, position.seq) {
                    self.gap(lane.as_ref().map(|lane| &lane.topic), Missed::Undecodable);
                }
            }
            FeedEvent::Live(message) => self.send(&message.envelope),
            // Said when it is back: who asks for the state of things on account of the gap gets it
            // from a time when nothing is missed any more.
            FeedEvent::LinkLost { .. } => self.lost = true,
            FeedEvent::LinkRestored { head } => {
                // The first time it comes up nothing was missed: who waits for it began with it.
                if std::mem::take(&mut self.lost) {
                    self.seen = Some((head, head));
                    self.gap(None, Missed::LinkLost);
                }
            }
        }
    }

    /// Takes note of the seqs from `first` up to `last`; `false` if they were seen.
    fn advance(&mut self, first: Position, last: u64) -> bool {
        let before = Position::new(first.epoch, first.seq.saturating_sub(1));
        let until = Position::new(first.epoch, last);
        let Some((from, seen)) = self.seen else {
            self.seen = Some((before, until));
            return true;
        };
        if seen.epoch == first.epoch && last <= seen.seq {
            return false;
        }
        let (from, contiguous) = if seen.epoch == first.epoch {
            (from, first.seq <= seen.seq.saturating_add(1))
        } else {
            // A new epoch takes over after the last seq it shares with the one before.
            (before, before.seq == seen.seq)
        };
        self.seen = Some((from, until));
        if !contiguous {
            self.gap(None, Missed::Hole);
        }
        true
    }

    fn deliver(&self, entry: &Entry, node: NodeId) {
        let record = &entry.record;
        // Stored too late to be worth delivering, on any clock.
        let expired = record.envelope.ttl.is_some_and(|ttl| ttl <= record.waited);
        if record.origin.node != node && !expired {
            self.send(&record.envelope);
        }
    }

    fn send(&self, envelope: &MessageEnvelope) {
        for queue in self.topics.get(&envelope.topic).into_iter().flatten() {
            queue.push(envelope);
        }
    }

    /// Says that messages of `topic`, or of any, may be missing.
    fn gap(&self, topic: Option<&Topic>, missed: Missed) {
        match topic {
            Some(topic) => {
                self.topics.get(topic).into_iter().flatten().for_each(|queue| queue.gap(missed));
            }
            None => self.topics.values().flatten().for_each(|queue| queue.gap(missed)),
        }
    }
}
