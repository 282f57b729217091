//! A server that a test hurts, and nodes on it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Bus, Keep, MessageEnvelope, Published, Result, Retention};
use tavern_redis::{RedisBackend, RedisConfig};
use tavern_testkit::engine::{RedisOptions, RedisServer};
use tavern_testkit::say::filter;
use tavern_testkit::wait::within;
use tavern_testkit::{Rig, Stage};

use crate::kit::quick;

/// A server, and how nodes on it are set up.
#[derive(Clone)]
pub(crate) struct Stand {
    pub(crate) server: Arc<RedisServer>,
    change: Arc<dyn Fn(&mut RedisConfig) + Send + Sync>,
}

impl fmt::Debug for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stand").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Stand {
    pub(crate) async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    pub(crate) async fn start_with(options: RedisOptions) -> Self {
        let server = within("a server starts", RedisServer::start(options)).await.unwrap();
        Self { server: Arc::new(server), change: Arc::new(|_| {}) }
    }

    /// The same server, for nodes that are set up otherwise.
    pub(crate) fn with(&self, change: impl Fn(&mut RedisConfig) + Send + Sync + 'static) -> Self {
        Self { server: Arc::clone(&self.server), change: Arc::new(change) }
    }

    pub(crate) fn config(&self) -> RedisConfig {
        let mut config = quick(RedisConfig::new("127.0.0.1", self.server.port()));
        config.retention = Some(keeping(100_000));
        (self.change)(&mut config);
        config
    }

    pub(crate) async fn open(&self) -> Result<RedisBackend> {
        within("a node opens", RedisBackend::open(self.config())).await
    }

    pub(crate) async fn bus(&self) -> Bus {
        Bus::new(self.open().await.unwrap())
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage::new(self.clone())
    }

    /// Says a command to the server.
    pub(crate) async fn say(&self, command: &[&str]) -> String {
        let answer = within("the server answers", self.server.cli(command)).await;
        answer.unwrap_or_else(|error| panic!("{command:?}: {error}")).text()
    }

    /// The keys of the namespace that end like this.
    pub(crate) async fn keys(&self, end: &str) -> Vec<String> {
        let pattern = format!("{{tavern:default}}:*{end}");
        let keys = self.server.cli(&["KEYS", &pattern]).await.unwrap();
        keys.items().iter().map(|key| key.text()).collect()
    }

    /// The one key of the namespace that ends like this.
    pub(crate) async fn key(&self, end: &str) -> String {
        let mut keys = self.keys(end).await;
        assert_eq!(keys.len(), 1, "{end}: {keys:?}");
        keys.remove(0)
    }
}

impl Rig for Stand {
    type Backend = RedisBackend;

    async fn open(&self, retention: Retention) -> Result<RedisBackend> {
        let mut config = self.config();
        config.retention = Some(retention);
        RedisBackend::open(config).await
    }

    async fn restart(&self) -> Result<()> {
        self.server.kill().await.unwrap();
        self.server.start_again().await.unwrap();
        Ok(())
    }

    async fn checkpoint(&self) -> Result<()> {
        self.server.save_snapshot().await.unwrap();
        Ok(())
    }

    async fn rewind(&self) -> Result<()> {
        self.server.rewind().await.unwrap();
        Ok(())
    }
}

/// So many entries of each lane for an hour, and none of topics that begin with `live`.
pub(crate) fn keeping(entries: u32) -> Retention {
    let hour = Duration::from_secs(3600);
    Retention::default()
        .with_default(Keep::new(entries, hour))
        .with_rule(filter("live/**"), Keep::live())
}

/// Publishes, and says where it was stored.
#[track_caller]
pub(crate) fn store(bus: &Bus, envelope: MessageEnvelope) -> impl Future<Output = u64> + use<> {
    let (at, bus) = (std::panic::Location::caller(), bus.clone());
    async move {
        match within("a publish", bus.publish(envelope)).await {
            Ok(Published::Stored(position)) => position.seq,
            other => panic!("{at}: stored, not {other:?}"),
        }
    }
}

/// Waits until a question to the server or a backend is answered with yes.
#[track_caller]
pub(crate) fn until<F>(what: &str, mut ask: impl FnMut() -> F) -> impl Future<Output = ()>
where
    F: Future<Output = bool>,
{
    within(what, async move {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}
