//! What the tests share.

use std::io;
use std::time::Duration;

use tavern_backend::{Error, Result, Retention};
use tavern_redis::{RedisBackend, RedisConfig};
use tavern_testkit::Rig;
use tavern_testkit::engine::{RedisOptions, RedisServer};
use tokio::sync::OnceCell;

/// One server, started when the first node opens.
#[derive(Debug, Default)]
pub(crate) struct RedisRig {
    server: OnceCell<RedisServer>,
    options: RedisOptions,
}

impl RedisRig {
    pub(crate) fn new(options: RedisOptions) -> Self {
        Self { server: OnceCell::new(), options }
    }

    pub(crate) async fn server(&self) -> Result<&RedisServer> {
        let start = || RedisServer::start(self.options.clone());
        self.server.get_or_try_init(start).await.map_err(failed)
    }
}

/// Times as short as a busy machine allows.
pub(crate) fn quick(mut config: RedisConfig) -> RedisConfig {
    config.max_payload = 64 << 10;
    config.timeout = Duration::from_secs(2);
    config.ping_interval = Duration::from_millis(500);
    config.reconnect_max = Duration::from_millis(100);
    config.sweep_interval = Duration::from_millis(100);
    config
}

impl Rig for RedisRig {
    type Backend = RedisBackend;

    async fn open(&self, retention: Retention) -> Result<RedisBackend> {
        let config = RedisConfig::new("127.0.0.1", self.server().await?.port());
        RedisBackend::open(quick(config).with_retention(Some(retention))).await
    }

    async fn restart(&self) -> Result<()> {
        let server = self.server().await?;
        server.cli(&["SAVE"]).await.map_err(failed)?;
        server.kill().await.map_err(failed)?;
        server.start_again().await.map_err(failed)
    }

    async fn checkpoint(&self) -> Result<()> {
        self.server().await?.save_snapshot().await.map_err(failed)
    }

    async fn rewind(&self) -> Result<()> {
        self.server().await?.rewind().await.map_err(failed)
    }
}

pub(crate) fn failed(error: io::Error) -> Error {
    Error::unavailable_from("the engine of the test failed", error)
}
