//! The backend: what the contract asks for, on top of the link.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tavern_backend::{
    Append, Backend, BackendInfo, Error, Feed, Head, HealthWatch, Lane, MessageId, NodeId, Page,
    Position, Published, ReadQuery, Result, Retention, Tasks, TopicFilter,
};
use tokio::sync::{mpsc, oneshot};

use crate::appender::{Appender, Job};
use crate::config::{Durability, RedisConfig};
use crate::inbound::Decoder;
use crate::link::{Link, Wish};
use crate::locate::Connector;
use crate::names::lane_name;
use crate::shared::Shared;
use crate::{fetch, page, sweep};

/// A node of a namespace that lies in Redis or Valkey.
///
/// It holds three connections: one appends, one reads, one is the feed. They are made anew together
/// when one of them breaks. Its tasks end with [`close`](Backend::close); if the value is dropped
/// without it, they end soon after.
pub struct RedisBackend {
    shared: Arc<Shared>,
    info: BackendInfo,
    mismatch: Option<Retention>,
    /// Taken once.
    feed: Mutex<Option<Feed>>,
    jobs: mpsc::Sender<Job>,
    wishes: mpsc::Sender<Wish>,
    tasks: Tasks,
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Callers that wait to append.
const JOBS: usize = 4096;
/// Calls that wait for the link.
const WISHES: usize = 4096;
/// Batches that wait for the reader of the feed.
const FEED: usize = 1024;
/// Reads of missing entries that wait.
const MISSING: usize = 64;

impl RedisBackend {
    /// Connects, and creates the log if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a configuration that cannot work; [`Error::Incompatible`] if the server
    /// is too old, may evict the log, or holds something under our names that this version does not
    /// know; [`Error::Unavailable`] if it cannot be reached. Once it was reached, it is waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves at most an empty log behind.
    pub async fn open(config: RedisConfig) -> Result<Self> {
        config.check()?;
        let node = NodeId::random()?;
        let mut info = BackendInfo::new("redis", config.location(), node);
        info.namespace.clone_from(&config.namespace);
        info.max_payload = config.max_payload;
        info.durability = match config.durability {
            Durability::Primary => {
                "the primary's memory: what it keeps over a restart is up to its persistence; a \
                 failover may lose the last moments, which clients are told"
            }
            Durability::Replicas { .. } => {
                "the primary's memory and that of the replicas waited for: a failover to one of \
                 them loses nothing; over a restart of all, their persistence decides"
            }
        };
        let shared = Arc::new(Shared::new(config, node));
        let connector = Connector::new(&shared.config, &shared.names, &node.to_string())?;
        let tasks = Tasks::new();
        let token = || tasks.token().clone();

        let (events, feed) = Feed::channel(FEED);
        let (wishes, wished) = mpsc::channel(WISHES);
        let (missing, missed) = mpsc::channel(MISSING);
        let (jobs, job) = mpsc::channel(JOBS);
        let (decoder, intake) =
            Decoder::new(Arc::clone(&shared), events.clone(), wishes.downgrade(), missing);
        let (opened, open) = oneshot::channel();
        tasks.spawn(decoder.run(token()));
        tasks.spawn(fetch::run(Arc::clone(&shared), missed, events, token()));
        let link = Link::new(Arc::clone(&shared), connector, wished, intake, token());
        tasks.spawn(link.run(opened));
        match open.await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => return Err(failure.into_error()),
            Err(_) => return Err(Error::Closed),
        }
        tasks.spawn(Appender::new(Arc::clone(&shared), job).run(token()));
        tasks.spawn(sweep::run(Arc::clone(&shared), token()));

        let session = shared.session()?;
        let mismatch = shared.settle_rules(&session).await.map_err(|f| f.into_error())?;
        let feed = Mutex::new(Some(feed));
        Ok(Self { shared, info, mismatch, feed, jobs, wishes, tasks })
    }

    /// The rules of the log, if they are not those this node was configured with. The log's are
    /// followed; [`RedisConfig::apply_retention`] replaces them.
    #[must_use]
    pub fn retention_mismatch(&self) -> Option<&Retention> {
        self.mismatch.as_ref()
    }

    fn check_open(&self) -> Result<()> {
        if self.tasks.token().is_cancelled() { Err(Error::Closed) } else { Ok(()) }
    }
}

impl Backend for RedisBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn health(&self) -> HealthWatch {
        self.shared.health.watch()
    }

    async fn publish(&self, append: Append) -> Result<Vec<Published>> {
        self.check_open()?;
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { append, reply }).await.map_err(|_| Error::Closed)?;
        answer.await.unwrap_or_else(|_| {
            Err(Error::outcome_unknown("the backend was closed while the append was under way"))
        })
    }

    async fn subscribe(&self, filters: &[TopicFilter]) -> Result<Position> {
        self.check_open()?;
        let (reply, answer) = oneshot::channel();
        let wish = Wish::Subscribe(filters.to_vec(), reply);
        self.wishes.send(wish).await.map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    async fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        self.check_open()?;
        let (reply, answer) = oneshot::channel();
        let wish = Wish::Unsubscribe(filters.to_vec(), reply);
        self.wishes.send(wish).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)
    }

    fn feed(&self) -> Result<Feed> {
        self.check_open()?;
        self.feed.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Error::FeedTaken)
    }

    async fn read(&self, query: ReadQuery) -> Result<Page> {
        self.check_open()?;
        let session = self.shared.session()?;
        page::read(&self.shared, &session, &query).await.map_err(|f| f.into_error())
    }

    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        self.check_open()?;
        let session = self.shared.session()?;
        let name = lane_name(&lane.topic, lane.scope.as_ref());
        let found = page::find(&self.shared, &session, &name, id.as_str()).await;
        found.inspect_err(|failure| session.notice(failure)).map_err(|f| f.into_error())
    }

    async fn head(&self) -> Result<Head> {
        self.check_open()?;
        let session = self.shared.session()?;
        Ok(self.shared.look(&session).await.map_err(|f| f.into_error())?.head)
    }

    fn rebuild(&self, reason: &str) {
        if let Ok(session) = self.shared.session() {
            session.end(reason);
        }
    }

    async fn close(&self) -> Result<()> {
        self.shared.health.set_closed();
        drop(self.feed.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.tasks.close().await;
        self.shared.session.send_replace(None);
        Ok(())
    }
}

impl Drop for RedisBackend {
    fn drop(&mut self) {
        self.shared.health.set_closed();
    }
}
