//! A backend that tells what it is asked, and can be held up.

use std::sync::{Arc, Mutex};

use tavern_backend::{
    Append, Backend, BackendInfo, Feed, Head, HealthWatch, Lane, MemoryBackend, MessageId, Page,
    Position, Published, ReadQuery, Result, TopicFilter,
};
use tokio::sync::Semaphore;

/// A node whose changes of interest are written down, and wait for a permit each.
#[derive(Debug)]
pub(crate) struct Probe {
    inner: MemoryBackend,
    hand: Hand,
}

/// The test's hand on a [`Probe`].
#[derive(Debug, Clone)]
pub(crate) struct Hand {
    calls: Arc<Mutex<Vec<String>>>,
    permits: Arc<Semaphore>,
}

impl Probe {
    pub(crate) fn new(inner: MemoryBackend) -> (Self, Hand) {
        let permits = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let hand = Hand { calls: Arc::default(), permits };
        (Self { inner, hand: hand.clone() }, hand)
    }
}

impl Hand {
    /// What was asked since the last time: `+topic` and `-topic`.
    pub(crate) fn calls(&self) -> String {
        self.calls.lock().unwrap().join(" ")
    }

    /// Lets no more than `calls` through, until the next time.
    pub(crate) fn allow(&self, calls: usize) {
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
        self.permits.add_permits(calls);
    }

    async fn pass(&self, sign: char, filters: &[TopicFilter]) {
        self.permits.acquire().await.unwrap().forget();
        self.calls.lock().unwrap().extend(filters.iter().map(|filter| format!("{sign}{filter}")));
    }
}

impl Backend for Probe {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn health(&self) -> HealthWatch {
        self.inner.health()
    }

    async fn publish(&self, append: Append) -> Result<Vec<Published>> {
        self.inner.publish(append).await
    }

    async fn subscribe(&self, filters: &[TopicFilter]) -> Result<Position> {
        self.hand.pass('+', filters).await;
        self.inner.subscribe(filters).await
    }

    async fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        self.hand.pass('-', filters).await;
        self.inner.unsubscribe(filters).await
    }

    fn feed(&self) -> Result<Feed> {
        self.inner.feed()
    }

    async fn read(&self, query: ReadQuery) -> Result<Page> {
        self.inner.read(query).await
    }

    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        self.inner.find(lane, id).await
    }

    async fn head(&self) -> Result<Head> {
        self.inner.head().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
