//! What an engine must offer: push and read. The rest is done once, in the broker.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::{
    Error, Feed, Head, HealthWatch, Lane, MessageId, NodeId, Page, Position, Publication,
    ReadQuery, Result, TopicFilter,
};

/// Facts about a backend that do not change while it is open.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackendInfo {
    /// Its scheme: `memory`, `sqlite`, …
    pub name: &'static str,
    /// Where it is, without secrets: for logs and `/status`.
    pub location: String,
    /// The namespace it serves.
    pub namespace: String,
    /// This process's membership of the namespace.
    pub node: NodeId,
    /// The largest message it carries: bytes of data, with everything the engine adds taken off.
    pub max_payload: usize,
    /// What `Stored` means here, for a person: which failures an accepted message survives.
    pub durability: &'static str,
    /// Whether a batch is appended as a whole or not at all, and never mixed with another one. An
    /// engine that takes messages one by one cannot promise that; it keeps their order.
    pub atomic_batches: bool,
    /// Whether the engine pushes what is new, over a link that may be up and bring nothing, so that
    /// only something published proves it. Not so where the feed reads.
    pub pushes: bool,
}

impl BackendInfo {
    /// Facts with the default `max_payload` of 1 MiB, in the namespace `default`.
    #[must_use]
    pub fn new(name: &'static str, location: impl Into<String>, node: NodeId) -> Self {
        Self {
            name,
            location: location.into(),
            namespace: "default".to_owned(),
            node,
            max_payload: 1 << 20,
            durability: "",
            atomic_batches: true,
            pushes: true,
        }
    }
}

/// A batch to append.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// The highest position this node has seen. If it lies in an ancestor epoch beyond the fork,
    /// the backend raises that fork's [`lost_through`](crate::Fork::lost_through) in the same
    /// step. An append with nothing in it but this is legal, opens no epoch and takes no seq.
    pub known: Option<Position>,
    /// What to append, in this order.
    pub publications: Vec<Publication>,
}

/// What became of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Published {
    /// It is in the log, at the engine's configured durability.
    Stored(Position),
    /// The log had it before: the same key, or the same id and message in the same lane.
    Duplicate(Position),
    /// The topic is live: it went out to the other nodes, at most once.
    Live,
    /// It is refused for good; nothing was stored.
    Rejected(Rejection),
}

/// Why a publication is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The id was used for another message of the same lane within the de-duplication window.
    #[error("the id `{id}` was given to another message of this topic and scope")]
    IdConflict {
        /// The id.
        id: MessageId,
        /// Where the other message stands.
        position: Position,
    },
    /// It is larger than the engine takes.
    #[error("the message has {size} bytes, {max} at most are accepted")]
    TooLarge {
        /// Bytes it would take.
        size: usize,
        /// The limit.
        max: usize,
    },
}

/// An engine that stores a namespace's log and tells other processes of it.
///
/// Who *calls* a backend uses [`Bus`](crate::Bus). Who *writes* one implements this trait and
/// proves it with the conformance suite of `tavern-testkit`.
///
/// Methods may be written as `async fn`. None of them waits for a subscriber, and nothing depends on
/// the feed being read: a push that finds no room is dropped.
///
#[doc = include_str!("backend/example.md")]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Facts that do not change.
    fn info(&self) -> &BackendInfo;

    /// The link's state: a value to watch.
    fn health(&self) -> HealthWatch;

    /// Appends (topics that retain something) or pushes (live topics) in order, and resolves when
    /// the engine has accepted the batch: one [`Published`] for each publication, in order.
    ///
    /// The log's own retention rules say which topic is live. Retained entries reach every node's
    /// feed, this one's included; live messages reach the other nodes only. The batch is appended
    /// as a whole or not at all, where [`BackendInfo::atomic_batches`] says so; elsewhere a failure
    /// may leave a part of it in the log, whose outcome is then unknown. A key that the log has seen within its de-duplication window
    /// (at least five minutes) is a [`Published::Duplicate`], even if its entry was trimmed since.
    ///
    /// The step that appends compares the engine's incarnation with the one in the log's metadata
    /// and opens a new epoch, forked at the current seq, where they differ.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if nothing was appended, [`Error::OutcomeUnknown`] if that cannot be
    /// told: the caller sends the same keys again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may or may not append; it never appends a part of an atomic batch.
    fn publish(&self, append: Append) -> impl Future<Output = Result<Vec<Published>>> + Send;

    /// Adds interest and resolves with the head once the engine has *confirmed* it: every entry
    /// above that head which matches is pushed as an entry, never as a skip. Adding what is there
    /// already is not an error. More than asked for may be delivered.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may or may not add the interest; [`Backend::unsubscribe`] takes it out.
    fn subscribe(&self, filters: &[TopicFilter]) -> impl Future<Output = Result<Position>> + Send;

    /// Takes interest out; what was never there is not an error.
    fn unsubscribe(&self, filters: &[TopicFilter]) -> impl Future<Output = Result<()>> + Send;

    /// The one inbound stream of this node.
    ///
    /// # Errors
    ///
    /// [`Error::FeedTaken`] the second time.
    fn feed(&self) -> Result<Feed>;

    /// Entries in a seq range from the primary, with the floors that apply.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    fn read(&self, query: ReadQuery) -> impl Future<Output = Result<Page>> + Send;

    /// The seq of the entry that was published with this id in this lane, while the log remembers
    /// it: at least as long as the entry is kept.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    fn find(&self, lane: &Lane, id: &MessageId)
    -> impl Future<Output = Result<Option<u64>>> + Send;

    /// What the log says of itself, asked now from the primary.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    fn head(&self) -> impl Future<Output = Result<Head>> + Send;

    /// Says that the feed does not bring what the log has, though the link is up: the link is to be
    /// ended and built anew, as if it had been lost. A hint, which returns at once; a backend whose
    /// feed reads may have nothing to do, as here.
    fn rebuild(&self, reason: &str) {
        let _ = reason;
    }

    /// Releases everything and waits for its tasks; the feed ends, calls return
    /// [`Error::Closed`]. Closing again is not an error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it stays closed; calling again waits for the rest.
    fn close(&self) -> impl Future<Output = Result<()>> + Send;
}

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The object-safe twin of [`Backend`], private to the crate.
pub(crate) trait DynBackend: fmt::Debug + Send + Sync + 'static {
    fn info(&self) -> &BackendInfo;
    fn health(&self) -> HealthWatch;
    fn publish(&self, append: Append) -> BoxFuture<'_, Result<Vec<Published>>>;
    fn subscribe<'a>(&'a self, filters: &'a [TopicFilter]) -> BoxFuture<'a, Result<Position>>;
    fn unsubscribe<'a>(&'a self, filters: &'a [TopicFilter]) -> BoxFuture<'a, Result<()>>;
    fn feed(&self) -> Result<Feed>;
    fn read(&self, query: ReadQuery) -> BoxFuture<'_, Result<Page>>;
    fn find<'a>(&'a self, lane: &'a Lane, id: &'a MessageId) -> BoxFuture<'a, Result<Option<u64>>>;
    fn head(&self) -> BoxFuture<'_, Result<Head>>;
    fn rebuild(&self, reason: &str);
    fn close(&self) -> BoxFuture<'_, Result<()>>;
}

impl<B: Backend> DynBackend for B {
    fn info(&self) -> &BackendInfo {
        Backend::info(self)
    }
    fn health(&self) -> HealthWatch {
        Backend::health(self)
    }
    fn publish(&self, append: Append) -> BoxFuture<'_, Result<Vec<Published>>> {
        Box::pin(Backend::publish(self, append))
    }
    fn subscribe<'a>(&'a self, filters: &'a [TopicFilter]) -> BoxFuture<'a, Result<Position>> {
        Box::pin(Backend::subscribe(self, filters))
    }
    fn unsubscribe<'a>(&'a self, filters: &'a [TopicFilter]) -> BoxFuture<'a, Result<()>> {
        Box::pin(Backend::unsubscribe(self, filters))
    }
    fn feed(&self) -> Result<Feed> {
        Backend::feed(self)
    }
    fn read(&self, query: ReadQuery) -> BoxFuture<'_, Result<Page>> {
        Box::pin(Backend::read(self, query))
    }
    fn find<'a>(&'a self, lane: &'a Lane, id: &'a MessageId) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(Backend::find(self, lane, id))
    }
    fn head(&self) -> BoxFuture<'_, Result<Head>> {
        Box::pin(Backend::head(self))
    }
    fn rebuild(&self, reason: &str) {
        Backend::rebuild(self, reason);
    }
    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(Backend::close(self))
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::TooLarge { size, max } => Self::TooLarge { size, max },
            conflict @ Rejection::IdConflict { .. } => {
                Self::Invalid(crate::Invalid::new("id", conflict.to_string()))
            }
        }
    }
}
