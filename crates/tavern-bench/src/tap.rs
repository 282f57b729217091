//! A backend whose feed the bench fills by hand: what a node does from there on, and nothing else,
//! is what is measured.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tavern_backend::{
    Append, Backend, BackendInfo, Entry, Epoch, Error, Feed, FeedEvent, Head, HealthCell,
    HealthWatch, Lane, Lineage, LogTime, MessageEnvelope, MessageId, NodeId, Origin, Page, Payload,
    Position, Published, ReadQuery, Record, Result, Retention, Topic, TopicFilter,
};
use tokio::sync::mpsc;

const EPOCH: Epoch = Epoch::from_u64(1);
const NODE: NodeId = NodeId::from_u64(1);

/// The backend: it has no log, only a head.
#[derive(Debug)]
pub(crate) struct Tap {
    info: BackendInfo,
    health: HealthCell,
    feed: Mutex<Option<Feed>>,
    head: Arc<AtomicU64>,
}

/// What fills the feed of a [`Tap`].
#[derive(Debug)]
pub(crate) struct Spout {
    feed: mpsc::Sender<Vec<FeedEvent>>,
    head: Arc<AtomicU64>,
    made: AtomicU64,
}

impl Tap {
    pub(crate) fn new() -> (Self, Spout) {
        let (sender, feed) = Feed::channel(64);
        let head = Arc::new(AtomicU64::new(0));
        let tap = Self {
            info: BackendInfo::new("tap", "the bench", NODE),
            health: HealthCell::up(),
            feed: Mutex::new(Some(feed)),
            head: Arc::clone(&head),
        };
        (tap, Spout { feed: sender, head, made: AtomicU64::new(0) })
    }

    fn position(&self) -> Position {
        Position::new(EPOCH, self.head.load(Relaxed))
    }
}

impl Spout {
    /// The next entry of the log, ready to be sent. They must be sent in the order of their making.
    pub(crate) fn make(&self, topic: &Topic, payload: &Payload) -> FeedEvent {
        let seq = self.made.fetch_add(1, Relaxed) + 1;
        FeedEvent::Entry(Arc::new(Entry {
            position: Position::new(EPOCH, seq),
            appended: LogTime::from_millis(0),
            record: Record {
                origin: Origin { node: NODE, counter: seq },
                waited: Duration::ZERO,
                envelope: MessageEnvelope::new(topic.clone(), payload.clone()),
            },
        }))
    }

    /// Puts a batch into the feed.
    pub(crate) async fn send(&self, batch: Vec<FeedEvent>) -> crate::Result<()> {
        let entries = u64::try_from(batch.len())?;
        self.feed.send(batch).await.map_err(|_| "the broker no longer reads its feed")?;
        self.head.fetch_add(entries, Relaxed);
        Ok(())
    }
}

impl Backend for Tap {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn health(&self) -> HealthWatch {
        self.health.watch()
    }

    async fn publish(&self, _append: Append) -> Result<Vec<Published>> {
        Err(Error::unavailable("this backend carries only what the bench puts in"))
    }

    async fn subscribe(&self, _filters: &[TopicFilter]) -> Result<Position> {
        Ok(self.position())
    }

    async fn unsubscribe(&self, _filters: &[TopicFilter]) -> Result<()> {
        Ok(())
    }

    fn feed(&self) -> Result<Feed> {
        let feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner).take();
        feed.ok_or(Error::FeedTaken)
    }

    async fn read(&self, _query: ReadQuery) -> Result<Page> {
        Err(Error::unavailable("this backend keeps nothing"))
    }

    async fn find(&self, _lane: &Lane, _id: &MessageId) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn head(&self) -> Result<Head> {
        Ok(Head {
            position: self.position(),
            lineage: Arc::new(Lineage::first(EPOCH)),
            now: LogTime::from_millis(0),
            horizon: 0,
            retention: Arc::new(Retention::default()),
            format: tavern_backend::wire::WRITES,
        })
    }

    async fn close(&self) -> Result<()> {
        self.health.set_closed();
        Ok(())
    }
}
