//! What the tests share.

use std::io;
use std::time::Duration;

use tavern_backend::{Error, Result, Retention};
use tavern_postgres::{PostgresBackend, PostgresConfig};
use tavern_testkit::Rig;
use tavern_testkit::engine::{PostgresOptions, PostgresServer};
use tokio::sync::OnceCell;

/// One server, started when the first node opens.
#[derive(Debug)]
pub(crate) struct PostgresRig {
    server: OnceCell<PostgresServer>,
    options: PostgresOptions,
}

impl PostgresRig {
    /// One that need not survive a crash of the machine, so that it starts quickly.
    pub(crate) fn new() -> Self {
        Self { server: OnceCell::new(), options: PostgresOptions::new().without_fsync() }
    }

    pub(crate) async fn server(&self) -> Result<&PostgresServer> {
        let start = || PostgresServer::start(self.options.clone());
        self.server.get_or_try_init(start).await.map_err(failed)
    }
}

/// Times as short as a busy machine allows.
pub(crate) fn quick(mut config: PostgresConfig) -> PostgresConfig {
    config.max_payload = 64 << 10;
    config.timeout = Duration::from_secs(3);
    config.poll_interval = Duration::from_millis(200);
    config.reconnect_max = Duration::from_millis(100);
    config.sweep_interval = Duration::from_millis(100);
    config
}

impl Rig for PostgresRig {
    type Backend = PostgresBackend;

    async fn open(&self, retention: Retention) -> Result<PostgresBackend> {
        let config = PostgresConfig::new(self.server().await?.url("postgres", "postgres"));
        PostgresBackend::open(quick(config).with_retention(Some(retention))).await
    }

    async fn restart(&self) -> Result<()> {
        let server = self.server().await?;
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
