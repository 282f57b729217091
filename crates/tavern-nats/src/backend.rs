//! The backend: what the contract asks for, on top of the link.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tavern_backend::{
    Append, Backend, BackendInfo, Error, Feed, Head, HealthWatch, Lane, MessageId, NodeId, Page,
    Position, Published, ReadQuery, Result, Retention, Tasks, TopicFilter,
};
use tokio::sync::{mpsc, oneshot};

use crate::appender::{Appender, Job};
use crate::config::{NatsConfig, Storage};
use crate::connect::Connector;
use crate::failure::Failure;
use crate::inbound::Decoder;
use crate::link::Link;
use crate::shared::{Session, Shared};
use crate::{page, sweep};

/// A node of a namespace that lies in a stream of NATS JetStream.
///
/// It holds three connections: one publishes, one reads, one is the feed. They are made anew
/// together when one of them breaks. Its tasks end with [`close`](Backend::close); if the value is
/// dropped without it, they end soon after.
pub struct NatsBackend {
    shared: Arc<Shared>,
    info: BackendInfo,
    mismatch: Option<Retention>,
    /// Taken once.
    feed: Mutex<Option<Feed>>,
    jobs: mpsc::Sender<Job>,
    tasks: Tasks,
}

impl fmt::Debug for NatsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBackend").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Callers that wait to publish.
const JOBS: usize = 4096;
/// Batches that wait for the reader of the feed.
const FEED: usize = 1024;
/// What surrounds the data of a message at most: names of 255 bytes, thrice as long in subjects and
/// headers, which the server repeats when it republishes.
const AROUND: usize = 12 << 10;

impl NatsBackend {
    /// Connects, and creates the log's two streams if there are none.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a configuration that cannot work; [`Error::Incompatible`] if the server
    /// is too old, or holds something under our names that this version does not know;
    /// [`Error::Unavailable`] if no server can be reached, it refuses the credentials, or JetStream
    /// is not enabled. Once it was reached, it is waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves at most an empty log behind.
    pub async fn open(config: NatsConfig) -> Result<Self> {
        config.check()?;
        let node = NodeId::random()?;
        let mut info = BackendInfo::new("nats", config.location(), node);
        info.namespace.clone_from(&config.namespace);
        info.atomic_batches = false;
        let connector = Connector::new(&config, format!("{}-{node}", config.client_name))?;
        connector.check().await?;
        let shared = Arc::new(Shared::new(config, node, connector));
        let tasks = Tasks::new();
        let token = || tasks.token().clone();

        let (events, feed) = Feed::channel(FEED);
        let (inbound, link) = mpsc::channel(8);
        let (jobs, job) = mpsc::channel(JOBS);
        let (opened, open) = oneshot::channel();
        tasks.spawn(Decoder::new(Arc::clone(&shared), link, events).run(token()));
        tasks.spawn(Link::new(Arc::clone(&shared), inbound, token()).run(opened));
        match open.await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => return Err(failure.into_error()),
            Err(_) => return Err(Error::Closed),
        }
        tasks.spawn(Appender::new(Arc::clone(&shared), job).run(token()));
        tasks.spawn(sweep::run(Arc::clone(&shared), token()));

        let session = shared.session()?;
        let mismatch = shared.settle_rules(&session).await.map_err(|f| f.into_error())?;
        let view = shared.look(&session).await.map_err(|f| f.into_error())?.view;
        let largest = view.limits.largest.unwrap_or(usize::MAX).min(session.max_payload);
        // Where that would leave next to nothing, what is too large with all that is around it is
        // only found when it is published.
        let around = AROUND.min(largest / 2);
        info.max_payload = shared.config.max_payload.min(largest - around).max(1);
        info.durability = match (view.limits.replicas, shared.config.storage) {
            (0 | 1, Storage::File) => {
                "one server's files: a crash of the server loses nothing, one of its machine the \
                 last moments (`sync_interval`), which clients are told"
            }
            (0 | 1, _) => "one server's memory: a restart of the server loses the log",
            _ => "a majority of the servers that hold the stream: one of them may be lost",
        };
        let feed = Mutex::new(Some(feed));
        Ok(Self { shared, info, mismatch, feed, jobs, tasks })
    }

    /// The rules of the log, if they are not those this node was configured with. The log's are
    /// followed; [`NatsConfig::apply_retention`] replaces them.
    #[must_use]
    pub fn retention_mismatch(&self) -> Option<&Retention> {
        self.mismatch.as_ref()
    }

    /// Asks over a link, as long as that is there.
    async fn over<T>(
        &self,
        session: &Session,
        asking: impl Future<Output = std::result::Result<T, Failure>>,
    ) -> Result<T> {
        let answer = tokio::select! {
            biased;
            answer = asking => answer.map_err(|failure| session.explain(&failure)),
            () = self.shared.until_over(session) => Err(Failure::of_link(session.ending.reason())),
        };
        answer.map_err(|failure| self.check_open().err().unwrap_or_else(|| failure.into_error()))
    }

    fn check_open(&self) -> Result<()> {
        if self.tasks.token().is_cancelled() { Err(Error::Closed) } else { Ok(()) }
    }
}

impl Backend for NatsBackend {
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
        let session = self.shared.session()?;
        {
            let mut interest = self.shared.interest.write().unwrap_or_else(PoisonError::into_inner);
            for filter in filters {
                interest.insert(filter.clone());
            }
        }
        // Every node gets every push; a filter decides what becomes of it. So what is stored after
        // this look meets the filter.
        let state = self.over(&session, self.shared.look(&session)).await?;
        Ok(state.head.position)
    }

    async fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        self.check_open()?;
        let mut interest = self.shared.interest.write().unwrap_or_else(PoisonError::into_inner);
        for filter in filters {
            interest.remove(filter);
        }
        Ok(())
    }

    fn feed(&self) -> Result<Feed> {
        self.check_open()?;
        self.feed.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Error::FeedTaken)
    }

    async fn read(&self, query: ReadQuery) -> Result<Page> {
        self.check_open()?;
        let session = self.shared.session()?;
        self.over(&session, page::read(&self.shared, &session, &query)).await
    }

    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        self.check_open()?;
        let session = self.shared.session()?;
        self.over(&session, page::find(&self.shared, &session, lane, id)).await
    }

    async fn head(&self) -> Result<Head> {
        self.check_open()?;
        let session = self.shared.session()?;
        Ok(self.over(&session, self.shared.look(&session)).await?.head)
    }

    fn rebuild(&self, reason: &str) {
        if let Ok(session) = self.shared.session() {
            session.ending.end(reason);
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

impl Drop for NatsBackend {
    fn drop(&mut self) {
        self.shared.health.set_closed();
    }
}
