//! A node's side of the log, and the log's side of a node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::engine::{MemoryEngine, State};
use super::log::Appended;
use crate::{
    Append, BackendInfo, Entry, Epoch, Error, Feed, FeedEvent, FilterSet, Head, HealthCell, Lane,
    LiveMessage, LogTime, MessageId, NodeId, Page, Position, Publication, Published, ReadQuery,
    Rejection, Result, TopicFilter,
};

/// Places in a feed's queue that only notices take.
const RESERVED: usize = 16;

/// What a [`MemoryBackend`](super::MemoryBackend) and its cable share.
pub(super) struct Node {
    pub(super) info: BackendInfo,
    pub(super) engine: MemoryEngine,
    pub(super) health: HealthCell,
    /// Guards the receiving end until it is taken.
    feed: Mutex<Option<Feed>>,
}

/// What the log holds of a node.
pub(super) struct Link {
    feed: mpsc::Sender<Vec<FeedEvent>>,
    interest: FilterSet,
    pub(super) up: bool,
    /// Notices that found even the reserved places taken; they go before anything else.
    owed: Vec<FeedEvent>,
    /// Messages that were not pushed because the queue was full or a test lost them.
    pub(super) unpushed: u64,
    /// Batches that a test wants lost.
    pub(super) lose_pushes: u64,
    /// Answers that a test wants lost.
    pub(super) lose_answers: u64,
}

/// What is pushed.
pub(super) enum Outgoing {
    Entry(Arc<Entry>),
    Live(LiveMessage),
}

impl Node {
    pub(super) fn new(id: NodeId, engine: MemoryEngine) -> (Self, Link) {
        let config = engine.config();
        let (sender, feed) = Feed::channel(config.feed_capacity.saturating_add(RESERVED));
        let mut info = BackendInfo::new("memory", "this process", id);
        info.namespace.clone_from(&config.namespace);
        info.max_payload = config.max_payload;
        info.pushes = false;
        info.durability = "the process's memory: lost when the process ends";
        let health = HealthCell::up();
        let link = Link {
            feed: sender,
            interest: FilterSet::default(),
            up: true,
            owed: Vec::new(),
            unpushed: 0,
            lose_pushes: 0,
            lose_answers: 0,
        };
        (Self { info, engine, health, feed: Mutex::new(Some(feed)) }, link)
    }

    pub(super) fn publish(&self, append: Append) -> Result<Vec<Published>> {
        let (now, instant) = (self.engine.now(), Instant::now());
        let mut state = self.open()?;
        state.log.sweep(now);
        let mut outgoing = Vec::with_capacity(append.publications.len());
        let mut published = Vec::with_capacity(append.publications.len());
        for publication in append.publications {
            let outcome = self.accept(&mut state, publication, now, instant, &mut outgoing);
            published.push(outcome);
        }
        if let Some(known) = append.known {
            state.log.learn(known);
        }
        state.push(self.info.node, &outgoing);
        match self.link(&mut state)? {
            link if link.lose_answers > 0 => {
                link.lose_answers -= 1;
                Err(Error::outcome_unknown("a test lost the answer"))
            }
            _ => Ok(published),
        }
    }

    fn accept(
        &self,
        state: &mut State,
        new: Publication,
        now: LogTime,
        instant: Instant,
        outgoing: &mut Vec<Outgoing>,
    ) -> Published {
        let (size, max) = (new.envelope.data.len(), self.info.max_payload);
        if size > max {
            return Published::Rejected(Rejection::TooLarge { size, max });
        }
        if state.log.retention().of(&new.envelope.topic).is_live() {
            let (origin, envelope) = (new.key, new.envelope);
            outgoing.push(Outgoing::Live(LiveMessage { origin, envelope }));
            return Published::Live;
        }
        match state.log.append(new.into_record(instant), now) {
            Appended::Stored(entry) => {
                let position = entry.position;
                outgoing.push(Outgoing::Entry(entry));
                Published::Stored(position)
            }
            Appended::Duplicate(position) => Published::Duplicate(position),
            Appended::Rejected(rejection) => Published::Rejected(rejection),
        }
    }

    pub(super) fn subscribe(&self, filters: &[TopicFilter]) -> Result<Position> {
        let mut state = self.open()?;
        self.link(&mut state)?.interest.extend(filters.iter().cloned());
        // Read under the same lock: every entry above it is pushed with the new interest.
        Ok(state.log.head())
    }

    /// Takes interest out, also while the link is down: it is not restored with it then.
    pub(super) fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        let mut state = self.engine.lock();
        let link = self.link(&mut state)?;
        for filter in filters {
            link.interest.remove(filter);
        }
        Ok(())
    }

    pub(super) fn feed(&self) -> Result<Feed> {
        self.link(&mut self.engine.lock())?;
        let feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner).take();
        feed.ok_or(Error::FeedTaken)
    }

    pub(super) fn read(&self, query: &ReadQuery) -> Result<Page> {
        let now = self.engine.now();
        let mut state = self.open()?;
        state.log.sweep(now);
        Ok(state.log.read(query))
    }

    pub(super) fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        Ok(self.open()?.log.find(lane, id))
    }

    pub(super) fn head(&self) -> Result<Head> {
        let now = self.engine.now();
        let mut state = self.open()?;
        state.log.sweep(now);
        Ok(state.log.describe(now))
    }

    /// Leaves the log for good: the feed ends.
    pub(super) fn leave(&self) {
        let link = self.engine.lock().links.remove(&self.info.node);
        if link.is_some() {
            self.health.set_closed();
        }
    }

    pub(super) fn link<'a>(&self, state: &'a mut State) -> Result<&'a mut Link> {
        state.links.get_mut(&self.info.node).ok_or(Error::Closed)
    }

    /// The state, if this node may use it.
    fn open(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.engine.lock();
        let link = self.link(&mut state)?;
        link.pay();
        if !link.up {
            return Err(Error::unavailable("the cable is cut"));
        }
        Ok(state)
    }
}

impl Link {
    /// Pushes what was published as far as the node wants it, and the seqs of the rest. `own` says
    /// that the node published it itself.
    pub(super) fn push(&mut self, own: bool, epoch: Epoch, published: &[Outgoing]) {
        if !self.up || self.feed.is_closed() {
            return;
        }
        let mut events: Vec<FeedEvent> = Vec::new();
        for outgoing in published {
            match outgoing {
                Outgoing::Entry(entry) if self.interest.matches(&entry.envelope().topic) => {
                    events.push(FeedEvent::Entry(Arc::clone(entry)));
                }
                Outgoing::Entry(entry) => {
                    let seq = entry.position.seq;
                    match events.last_mut() {
                        Some(FeedEvent::Skip { to, .. }) if *to + 1 == seq => *to = seq,
                        _ => events.push(FeedEvent::Skip { epoch, from: seq, to: seq }),
                    }
                }
                Outgoing::Live(message) if !own => {
                    if self.interest.matches(&message.envelope.topic) {
                        events.push(FeedEvent::Live(message.clone()));
                    }
                }
                Outgoing::Live(_) => {}
            }
        }
        if events.is_empty() {
            return;
        }
        self.pay();
        let messages = events.iter().filter(|event| !matches!(event, FeedEvent::Skip { .. }));
        let messages = u64::try_from(messages.count()).unwrap_or(u64::MAX);
        if self.lose_pushes > 0 {
            self.lose_pushes -= 1;
        } else if self.owed.is_empty()
            && self.feed.capacity() > RESERVED
            && self.feed.try_send(events).is_ok()
        {
            return;
        }
        // Who counts seqs finds what is missing; a reader that is gone misses nothing.
        self.unpushed = self.unpushed.saturating_add(messages);
    }

    /// Puts a notice into the feed, which is never lost: at worst it waits for a place.
    pub(super) fn notify(&mut self, notice: FeedEvent) {
        self.pay();
        // Of notices that wait, a loss and the last return say it all.
        match notice {
            FeedEvent::LinkLost { .. } => {
                self.owed.retain(|owed| matches!(owed, FeedEvent::LinkLost { .. }));
                if self.owed.is_empty() {
                    self.owed.push(notice);
                }
            }
            notice => self.owed.push(notice),
        }
        self.pay();
    }

    /// Sends notices that wait, as far as there is room.
    fn pay(&mut self) {
        if !self.owed.is_empty()
            && let Ok(place) = self.feed.try_reserve()
        {
            place.send(std::mem::take(&mut self.owed));
        }
    }
}
