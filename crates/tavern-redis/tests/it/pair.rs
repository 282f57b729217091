//! A primary and its replica without Sentinels: what happens to them is the test's doing.

use std::fmt;
use std::sync::Arc;

use tavern_backend::{Cursor, Result, Retention};
use tavern_redis::{RedisBackend, RedisConfig};
use tavern_testkit::engine::{RedisOptions, RedisServer};
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tavern_testkit::{Node, Replay, Rig, Stage};

use crate::kit::quick;
use crate::stand::keeping;

/// Two servers, the first of which begins as the primary, and how nodes on them are set up.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) first: Arc<RedisServer>,
    pub(crate) second: Arc<RedisServer>,
    change: Arc<dyn Fn(&mut RedisConfig) + Send + Sync>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("first", &self.first).finish_non_exhaustive()
    }
}

impl Pair {
    pub(crate) async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    pub(crate) async fn start_with(options: RedisOptions) -> Self {
        let first = within("a server starts", RedisServer::start(options)).await.unwrap();
        let second = within("a replica", RedisServer::replica_of(&first)).await.unwrap();
        Self::of(first, second)
    }

    pub(crate) fn of(first: RedisServer, second: RedisServer) -> Self {
        Self { first: Arc::new(first), second: Arc::new(second), change: Arc::new(|_| {}) }
    }

    /// The same servers, for nodes that are set up otherwise.
    pub(crate) fn with(&self, change: impl Fn(&mut RedisConfig) + Send + Sync + 'static) -> Self {
        Self { change: Arc::new(change), ..self.clone() }
    }

    /// A node looks for the primary at both.
    pub(crate) fn config(&self) -> RedisConfig {
        let mut config = quick(RedisConfig::new("127.0.0.1", self.first.port()));
        config.addresses.push(("127.0.0.1".to_owned(), self.second.port()));
        config.retention = Some(keeping(100_000));
        (self.change)(&mut config);
        config
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage::new(self.clone())
    }

    /// What the primary is told from now on, the replica never hears.
    pub(crate) async fn cut(&self) {
        within("the replica has all", self.second.wait_synced()).await.unwrap();
        self.first.cut_replication().await.unwrap();
    }

    /// The primary dies, and the replica takes its place with what it has.
    pub(crate) async fn fail_over(&self) {
        self.first.kill().await.unwrap();
        self.second.promote().await.unwrap();
    }
}

impl Rig for Pair {
    type Backend = RedisBackend;

    async fn open(&self, retention: Retention) -> Result<RedisBackend> {
        RedisBackend::open(self.config().with_retention(Some(retention))).await
    }

    async fn restart(&self) -> Result<()> {
        within("the replica has all", self.second.wait_synced()).await.unwrap();
        self.fail_over().await;
        Ok(())
    }

    async fn checkpoint(&self) -> Result<()> {
        self.cut().await;
        Ok(())
    }

    async fn rewind(&self) -> Result<()> {
        self.fail_over().await;
        Ok(())
    }
}

/// Stores messages on the topic `t`; returns their cursors.
pub(crate) async fn store_all(node: &Node, numbers: impl IntoIterator<Item = u32>) -> Vec<Cursor> {
    let mut cursors = Vec::new();
    for n in numbers {
        cursors.push(Cursor(node.store(message("t", n.to_string())).await));
    }
    cursors
}

/// The words for why there are gaps.
pub(crate) fn reasons(replay: &Replay) -> Vec<&'static str> {
    replay.reasons().iter().map(|reason| reason.as_str()).collect()
}

/// Numbers as they are published.
pub(crate) fn texts(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}
