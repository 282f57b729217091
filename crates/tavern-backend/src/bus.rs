//! The handle to a backend: every verb, for who calls one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::Tasks;
use crate::backend::DynBackend;
use crate::{
    Append, Backend, BackendInfo, Feed, FeedEvent, Head, HealthWatch, Lane, MemoryBackend,
    MessageEnvelope, MessageId, NodeId, Origin, Page, Position, Publication, Published, ReadQuery,
    Result, TopicFilter,
};

mod dispatch;
mod queue;
mod subscription;

use dispatch::Dispatch;

pub use subscription::{Missed, Received, Subscription};

/// What went through a [`Bus`], counted once, by the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BackendStats {
    /// Whether the backend's link is up.
    pub connected: bool,
    /// Messages this node's backend accepted.
    pub messages_sent: u64,
    /// Messages that arrived on this node's feed, its own retained ones included.
    pub messages_received: u64,
}

/// A handle to a backend, cheap to clone; all clones are the same node.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Box<dyn DynBackend>,
    keys: AtomicU64,
    sent: AtomicU64,
    received: Arc<AtomicU64>,
    /// Who subscribed to single topics.
    dispatch: Arc<Dispatch>,
    /// Orders changes of interest that [`Dispatch`] asks for: what is taken out was not added since.
    interest: tokio::sync::Mutex<()>,
    tasks: Tasks,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("backend", &self.shared.backend).finish_non_exhaustive()
    }
}

impl Bus {
    /// A handle to `backend`.
    #[must_use]
    pub fn new(backend: impl Backend) -> Self {
        Self {
            shared: Arc::new(Shared {
                backend: Box::new(backend),
                keys: AtomicU64::new(0),
                sent: AtomicU64::new(0),
                received: Arc::default(),
                dispatch: Arc::default(),
                interest: tokio::sync::Mutex::default(),
                tasks: Tasks::new(),
            }),
        }
    }

    /// A handle to a new log in this process, with the default rules: see [`MemoryBackend`].
    #[must_use]
    pub fn memory() -> Self {
        Self::new(MemoryBackend::new())
    }

    /// Facts about the backend.
    #[must_use]
    pub fn info(&self) -> &BackendInfo {
        self.shared.backend.info()
    }

    /// This process's membership of the namespace.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.info().node
    }

    /// Whether the backend's link is up.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.health().get().up
    }

    /// The link's state, to look at or to wait for.
    #[must_use]
    pub fn health(&self) -> HealthWatch {
        self.shared.backend.health()
    }

    /// Runs `callback` each time the link comes back, interest confirmed.
    pub fn on_reconnect(&self, callback: impl Fn() + Send + Sync + 'static) {
        self.health().on_up(callback);
    }

    /// What went through this handle.
    #[must_use]
    pub fn stats(&self) -> BackendStats {
        BackendStats {
            connected: self.healthy(),
            messages_sent: self.shared.sent.load(Ordering::Relaxed),
            messages_received: self.shared.received.load(Ordering::Relaxed),
        }
    }

    /// The key of the next publication of this node.
    #[must_use]
    pub fn next_key(&self) -> Origin {
        let counter = self.shared.keys.fetch_add(1, Ordering::Relaxed) + 1;
        Origin { node: self.node(), counter }
    }

    /// Publishes one message.
    ///
    /// # Errors
    ///
    /// As [`Backend::publish`]; after [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) the
    /// message may be there. Give it an id to be able to send it again, or use a broker, which
    /// settles that by itself.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may or may not publish.
    pub async fn publish(&self, envelope: MessageEnvelope) -> Result<Published> {
        let key = self.next_key();
        let accepted = tokio::time::Instant::now();
        let publications = vec![Publication { key, envelope, accepted }];
        let published = self.append(Append { known: None, publications }).await?;
        published.into_iter().next().ok_or_else(|| {
            crate::Error::outcome_unknown("the backend answered for none of the messages")
        })
    }

    /// Appends a batch whose keys the caller owns. See [`Backend::publish`].
    ///
    /// # Errors
    ///
    /// As [`Backend::publish`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may or may not append; it never appends a part.
    pub async fn append(&self, append: Append) -> Result<Vec<Published>> {
        let published = self.shared.backend.publish(append).await?;
        let sent = published
            .iter()
            .filter(|p| matches!(p, Published::Stored(_) | Published::Live))
            .count();
        self.shared.sent.fetch_add(u64::try_from(sent).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(published)
    }

    /// Has the link built anew. See [`Backend::rebuild`].
    pub fn rebuild(&self, reason: &str) {
        self.shared.backend.rebuild(reason);
    }

    /// Adds interest. See [`Backend::subscribe`].
    ///
    /// # Errors
    ///
    /// As [`Backend::subscribe`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may or may not add the interest.
    pub async fn add_interest(&self, filters: &[TopicFilter]) -> Result<Position> {
        self.shared.backend.subscribe(filters).await
    }

    /// Takes interest out. See [`Backend::unsubscribe`].
    ///
    /// # Errors
    ///
    /// As [`Backend::unsubscribe`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may or may not take the interest out.
    pub async fn remove_interest(&self, filters: &[TopicFilter]) -> Result<()> {
        self.shared.backend.unsubscribe(filters).await
    }

    /// The one inbound stream of this node. See [`Backend::feed`].
    ///
    /// # Errors
    ///
    /// [`Error::FeedTaken`](crate::Error::FeedTaken) if a broker or another reader has it.
    pub fn feed(&self) -> Result<BusFeed> {
        let feed = self.shared.backend.feed()?;
        Ok(BusFeed { feed, received: Arc::clone(&self.shared.received) })
    }

    /// Reads a range of the log. See [`Backend::read`].
    ///
    /// # Errors
    ///
    /// As [`Backend::read`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn read(&self, query: ReadQuery) -> Result<Page> {
        self.shared.backend.read(query).await
    }

    /// Finds an entry by its publisher's id. See [`Backend::find`].
    ///
    /// # Errors
    ///
    /// As [`Backend::find`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        self.shared.backend.find(lane, id).await
    }

    /// Asks the log for its head. See [`Backend::head`].
    ///
    /// # Errors
    ///
    /// As [`Backend::head`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn head(&self) -> Result<Head> {
        self.shared.backend.head().await
    }

    /// Releases everything: subscriptions end, and all tasks have ended when it returns. See
    /// [`Backend::close`].
    ///
    /// # Errors
    ///
    /// As [`Backend::close`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it stays closed; calling again waits for the rest.
    pub async fn close(&self) -> Result<()> {
        self.shared.dispatch.close();
        let closed = self.shared.backend.close().await;
        self.shared.tasks.close().await;
        closed
    }
}

/// A [`Feed`] whose messages are counted in [`BackendStats::messages_received`].
#[derive(Debug)]
pub struct BusFeed {
    feed: Feed,
    received: Arc<AtomicU64>,
}

impl BusFeed {
    /// The next batch; `None` once the backend is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<Vec<FeedEvent>> {
        let batch = self.feed.recv().await?;
        let messages = batch
            .iter()
            .filter(|event| matches!(event, FeedEvent::Entry(_) | FeedEvent::Live(_)))
            .count();
        self.received.fetch_add(u64::try_from(messages).unwrap_or(u64::MAX), Ordering::Relaxed);
        Some(batch)
    }
}
