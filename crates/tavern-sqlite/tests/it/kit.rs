//! What the tests share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tavern_backend::{
    Append, Backend, Entry, Feed, FeedEvent, MessageEnvelope, MessageId, NodeId, Origin, Page,
    Position, Publication, Published, ReadQuery, Result, Scope, Topic, TopicFilter,
};
use tavern_sqlite::{SqliteBackend, SqliteConfig};

/// Everything a test waits for comes within this time, or it fails.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Asks again and again until `check` has an answer.
pub(crate) async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// A directory of its own for a log.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.0.path().join("log.db")
    }

    pub(crate) fn config(&self) -> SqliteConfig {
        SqliteConfig::new(self.db())
    }

    pub(crate) async fn node(&self) -> Node {
        Node::open(self.config()).await
    }
}

/// A backend that counts its keys, as a bus does.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) backend: SqliteBackend,
    counter: std::sync::atomic::AtomicU64,
}

impl Node {
    pub(crate) async fn open(config: SqliteConfig) -> Self {
        Self::try_open(config).await.unwrap()
    }

    pub(crate) async fn try_open(config: SqliteConfig) -> Result<Self> {
        let backend = soon("open", SqliteBackend::open(config)).await?;
        Ok(Self { backend, counter: 1.into() })
    }

    pub(crate) fn key(&self) -> Origin {
        let counter = self.counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Origin { node: self.backend.info().node, counter }
    }

    pub(crate) fn publication(&self, envelope: MessageEnvelope) -> Publication {
        Publication { key: self.key(), envelope, accepted: tokio::time::Instant::now() }
    }

    pub(crate) async fn append(&self, publications: Vec<Publication>) -> Result<Vec<Published>> {
        soon("publish", self.backend.publish(Append { known: None, publications })).await
    }

    pub(crate) async fn send(&self, envelope: MessageEnvelope) -> Result<Published> {
        let publication = self.publication(envelope);
        Ok(self.append(vec![publication]).await?.remove(0))
    }

    /// Publishes and returns where it was stored.
    #[track_caller]
    pub(crate) fn publish(
        &self,
        topic: &str,
        data: &str,
    ) -> impl Future<Output = Position> + use<'_> {
        let envelope = message(topic, data);
        async move {
            match self.send(envelope).await.unwrap() {
                Published::Stored(position) => position,
                other => panic!("not stored: {other:?}"),
            }
        }
    }

    pub(crate) async fn subscribe(&self, filter: &str) -> Position {
        let filter = TopicFilter::new(filter).unwrap();
        soon("subscribe", self.backend.subscribe(&[filter])).await.unwrap()
    }

    pub(crate) async fn read(&self, query: ReadQuery) -> Page {
        soon("read", self.backend.read(query)).await.unwrap()
    }

    /// The whole log.
    pub(crate) async fn all(&self) -> Page {
        self.read(ReadQuery::range(0, u64::MAX).with_limit(usize::MAX)).await
    }

    pub(crate) async fn head(&self) -> Position {
        soon("head", self.backend.head()).await.unwrap().position
    }

    pub(crate) async fn close(&self) {
        soon("close", self.backend.close()).await.unwrap();
    }
}

pub(crate) fn message(topic: &str, data: &str) -> MessageEnvelope {
    MessageEnvelope::new(Topic::new(topic).unwrap(), data)
}

pub(crate) fn scoped(topic: &str, scope: &str, data: &str) -> MessageEnvelope {
    MessageEnvelope { scope: Some(Scope::new(scope).unwrap()), ..message(topic, data) }
}

pub(crate) fn with_id(envelope: MessageEnvelope, id: &str) -> MessageEnvelope {
    MessageEnvelope { id: Some(MessageId::new(id).unwrap()), ..envelope }
}

pub(crate) fn origin(node: u64, counter: u64) -> Origin {
    Origin { node: NodeId::from_u64(node), counter }
}

/// Reads a feed event by event.
pub(crate) struct Follower {
    feed: Feed,
    waiting: std::collections::VecDeque<FeedEvent>,
}

impl Follower {
    pub(crate) fn new(node: &Node) -> Self {
        Self { feed: node.backend.feed().unwrap(), waiting: Default::default() }
    }

    pub(crate) async fn next(&mut self) -> FeedEvent {
        soon("an event of the feed", async {
            loop {
                if let Some(event) = self.waiting.pop_front() {
                    return event;
                }
                self.waiting.extend(self.feed.recv().await.expect("the feed ended"));
            }
        })
        .await
    }

    /// The next entry; what else comes must be skips.
    pub(crate) async fn entry(&mut self) -> std::sync::Arc<Entry> {
        loop {
            match self.next().await {
                FeedEvent::Entry(entry) => return entry,
                FeedEvent::Skip { .. } => {}
                other => panic!("not an entry: {other:?}"),
            }
        }
    }

    pub(crate) async fn ends(&mut self) {
        soon("the end of the feed", async { while self.feed.recv().await.is_some() {} }).await;
    }
}

pub(crate) fn texts(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|entry| entry.envelope().data.as_str()).collect()
}

pub(crate) fn seqs(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.position.seq).collect()
}
