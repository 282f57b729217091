//! The log in this process: for one process alone, and for tests of everything above it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Append, Backend, BackendInfo, Feed, Head, HealthWatch, Lane, MessageId, Page, Position,
    Published, ReadQuery, Result, Retention, TopicFilter,
};

mod cable;
mod clock;
mod engine;
mod keys;
mod lane;
mod log;
mod node;

pub use cable::Cable;
pub use engine::MemoryEngine;

use node::Node;

/// How a [`MemoryEngine`] keeps its log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// The namespace's name; `default` by default.
    pub namespace: String,
    /// How much of each lane is kept.
    pub retention: Retention,
    /// The largest message, in bytes of data; 1 MiB by default.
    pub max_payload: usize,
    /// How long keys are remembered to tell a retry from a new message; 5 minutes by default and at
    /// least.
    pub dedup_window: Duration,
    /// How long a publisher's id stays taken in its lane, beyond the life of its entry; 5 minutes
    /// by default.
    pub id_window: Duration,
    /// How long a lane with nothing in it is remembered after its last entry; a day by default, and
    /// never less than `id_window`.
    pub forget_after: Duration,
    /// Batches that wait for the reader of a node's feed; what does not fit is dropped and counted.
    /// 1,024 by default.
    pub feed_capacity: usize,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            retention: Retention::default(),
            max_payload: 1 << 20,
            dedup_window: Duration::from_secs(300),
            id_window: Duration::from_secs(300),
            forget_after: Duration::from_secs(24 * 60 * 60),
            feed_capacity: 1024,
        }
    }
}

impl MemoryConfig {
    /// The same with another namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The same with other retention rules.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// The same with another limit for messages.
    #[must_use]
    pub fn with_max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// The same with another window for keys; five minutes at least.
    #[must_use]
    pub fn with_dedup_window(mut self, window: Duration) -> Self {
        self.dedup_window = window.max(Self::default().dedup_window);
        self
    }

    /// The same with another window for publishers' ids.
    #[must_use]
    pub fn with_id_window(mut self, window: Duration) -> Self {
        self.id_window = window;
        self
    }

    /// The same with another memory for silent lanes.
    #[must_use]
    pub fn with_forget_after(mut self, silence: Duration) -> Self {
        self.forget_after = silence;
        self
    }

    /// The same with another length of feed queues.
    #[must_use]
    pub fn with_feed_capacity(mut self, batches: usize) -> Self {
        self.feed_capacity = batches.max(1);
        self
    }
}

/// A [`Backend`] whose log lives in this process and ends with it.
///
/// [`fork`](Self::fork) makes another node on the same log, as another process would be on another
/// engine; [`cable`](Self::cable) is a hand on this node's link to it, for tests. It keeps time with
/// tokio's clock, so that paused time moves ages and TTLs too.
///
/// ```
/// use tavern_backend::{Backend, FeedEvent, MemoryBackend, Bus, MessageEnvelope, Topic};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (a, b) = MemoryBackend::pair();
/// let (a, b) = (Bus::new(a), Bus::new(b));
/// b.add_interest(&["orders/*".try_into()?]).await?;
/// let mut feed = b.feed()?;
///
/// a.publish(MessageEnvelope::new(Topic::new("orders/7")?, "paid")).await?;
///
/// let events = feed.recv().await.unwrap();
/// assert!(matches!(&events[..], [FeedEvent::Entry(e)] if e.envelope().data.as_str() == "paid"));
/// # Ok(())
/// # }
/// ```
pub struct MemoryBackend {
    node: Arc<Node>,
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend").field("node", &self.node.info.node).finish_non_exhaustive()
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackend {
    /// The first node on a new log with the default rules.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(MemoryConfig::default())
    }

    /// The first node on a new log with other retention rules.
    #[must_use]
    pub fn with_retention(retention: Retention) -> Self {
        Self::with_config(MemoryConfig::default().with_retention(retention))
    }

    /// The first node on a new log.
    #[must_use]
    pub fn with_config(config: MemoryConfig) -> Self {
        MemoryEngine::new(config).node()
    }

    /// Two nodes on a new log.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let first = Self::new();
        let second = first.fork();
        (first, second)
    }

    /// Another node on the same log.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.node.engine.node()
    }

    /// A hand on this node's link to the log; it works as long as the node is open.
    #[must_use]
    pub fn cable(&self) -> Cable {
        Cable::new(Arc::clone(&self.node))
    }

    /// The log this node is on.
    #[must_use]
    pub fn engine(&self) -> &MemoryEngine {
        &self.node.engine
    }
}

impl Drop for MemoryBackend {
    fn drop(&mut self) {
        self.node.leave();
    }
}

impl Backend for MemoryBackend {
    fn info(&self) -> &BackendInfo {
        &self.node.info
    }

    fn health(&self) -> HealthWatch {
        self.node.health.watch()
    }

    async fn publish(&self, append: Append) -> Result<Vec<Published>> {
        // Nothing else here awaits: without this, a loop of publishes would starve who reads them.
        tokio::task::coop::consume_budget().await;
        self.node.publish(append)
    }

    async fn subscribe(&self, filters: &[TopicFilter]) -> Result<Position> {
        tokio::task::coop::consume_budget().await;
        self.node.subscribe(filters)
    }

    async fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        tokio::task::coop::consume_budget().await;
        self.node.unsubscribe(filters)
    }

    fn feed(&self) -> Result<Feed> {
        self.node.feed()
    }

    async fn read(&self, query: ReadQuery) -> Result<Page> {
        tokio::task::coop::consume_budget().await;
        self.node.read(&query)
    }

    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        tokio::task::coop::consume_budget().await;
        self.node.find(lane, id)
    }

    async fn head(&self) -> Result<Head> {
        tokio::task::coop::consume_budget().await;
        self.node.head()
    }

    async fn close(&self) -> Result<()> {
        self.node.leave();
        Ok(())
    }
}
