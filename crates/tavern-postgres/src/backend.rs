//! The backend: what the contract asks for, on top of the link.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tavern_backend::{
    Append, Backend, BackendInfo, Error, Feed, Head, HealthWatch, Lane, MessageId, NodeId, Page,
    Position, Published, ReadQuery, Result, Retention, Tasks, TopicFilter,
};
use tokio::sync::{mpsc, oneshot};

use crate::appender::{Appender, Job};
use crate::config::PostgresConfig;
use crate::dsn::Dsn;
use crate::failure::Failure;
use crate::follower::Follower;
use crate::link::Link;
use crate::outbox::Mover;
use crate::page;
use crate::shared::Shared;
use crate::sweep::Sweeper;

/// A node of a namespace that lies in a Postgres database.
///
/// It holds five connections of its own: one appends, one asks, one follows the log, one listens; these
/// are made anew together when one of them breaks. The fifth removes what is too old. Its tasks end with
/// [`close`](Backend::close); if the value is dropped without it, they end soon after.
pub struct PostgresBackend {
    shared: Arc<Shared>,
    info: BackendInfo,
    mismatch: Option<Retention>,
    /// Taken once.
    feed: Mutex<Option<Feed>>,
    jobs: mpsc::Sender<Job>,
    tasks: Tasks,
}

impl fmt::Debug for PostgresBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBackend").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Callers that wait to append.
const JOBS: usize = 4096;
/// Batches that wait for the reader of the feed.
const FEED: usize = 64;

impl PostgresBackend {
    /// Connects, brings the schema up to date, and creates the log if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a configuration that cannot work; [`Error::Incompatible`] if the schema
    /// is of a newer version, may not be made, or not be used: the error lists the rights that are
    /// missing; [`Error::Unavailable`] if the database cannot be reached or refuses the user. Once it
    /// was reached, it is waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves at most an empty log behind.
    pub async fn open(config: PostgresConfig) -> Result<Self> {
        config.check()?;
        let dsn = Dsn::parse(&config.url)?;
        let listen = config.listen_url.as_deref().map_or_else(|| Ok(dsn.clone()), Dsn::parse)?;
        let node = NodeId::random()?;
        let mut info = BackendInfo::new("postgres", dsn.location(), node);
        info.namespace.clone_from(&config.namespace);
        info.max_payload = config.max_payload;
        info.pushes = false;
        info.durability = "what the database's `synchronous_commit` says: on its disk, as it is set \
                           up; a failover to an asynchronous replica may lose the last moments, \
                           which clients are told";
        let shared = Arc::new(Shared::new(config, node));
        let tasks = Tasks::new();
        let token = || tasks.token().clone();

        let (events, feed) = Feed::channel(FEED);
        let (inbound, linked) = mpsc::channel(8);
        let (jobs, job) = mpsc::channel(JOBS);
        let (opened, open) = oneshot::channel();
        tasks.spawn(Follower::new(Arc::clone(&shared), linked, events).run(token()));
        let wires = Tasks::new();
        let sweeper = Sweeper::new(Arc::clone(&shared), dsn.clone());
        let link =
            Link { shared: Arc::clone(&shared), dsn, listen, inbound, wires, token: token() };
        tasks.spawn(link.run(opened));
        match open.await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => return Err(failure.into_error()),
            Err(_) => return Err(Error::Closed),
        }
        tasks.spawn(Appender::new(Arc::clone(&shared), job).run(token()));
        tasks.spawn(sweeper.run(token()));
        let mover = Mover::new(Arc::clone(&shared), jobs.downgrade(), NodeId::random()?);
        tasks.spawn(mover.run(token()));

        let session = shared.session()?;
        let mismatch = shared.settle_rules(&session).await.map_err(|f| f.into_error())?;
        let feed = Mutex::new(Some(feed));
        Ok(Self { shared, info, mismatch, feed, jobs, tasks })
    }

    /// The rules of the log, if they are not those this node was configured with. The log's are
    /// followed; [`PostgresConfig::apply_retention`] replaces them.
    #[must_use]
    pub fn retention_mismatch(&self) -> Option<&Retention> {
        self.mismatch.as_ref()
    }

    fn check_open(&self) -> Result<()> {
        if self.tasks.token().is_cancelled() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Why a call fails: a connection that went because the backend was closed is no failure of it.
    fn refusal(&self, failure: Failure) -> Error {
        self.check_open().err().unwrap_or_else(|| failure.into_error())
    }
}

impl Backend for PostgresBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn health(&self) -> HealthWatch {
        self.shared.health.watch()
    }

    async fn publish(&self, append: Append) -> Result<Vec<Published>> {
        self.check_open()?;
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Append(append, reply)).await.map_err(|_| Error::Closed)?;
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
        // What is committed after this look is held against the interest that is there now.
        let state = self.shared.look(&session).await.map_err(|f| self.refusal(f))?;
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
        page::read(&self.shared, &session, &query).await.map_err(|f| self.refusal(f))
    }

    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        self.check_open()?;
        let session = self.shared.session()?;
        page::find(&self.shared, &session, lane, id).await.map_err(|f| self.refusal(f))
    }

    async fn head(&self) -> Result<Head> {
        self.check_open()?;
        let session = self.shared.session()?;
        Ok(self.shared.look(&session).await.map_err(|f| self.refusal(f))?.head)
    }

    async fn close(&self) -> Result<()> {
        self.shared.health.set_closed();
        drop(self.feed.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.tasks.close().await;
        self.shared.session.send_replace(None);
        Ok(())
    }
}

impl Drop for PostgresBackend {
    fn drop(&mut self) {
        self.shared.health.set_closed();
    }
}
