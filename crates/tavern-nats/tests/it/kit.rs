//! What the tests share.

use std::io;
use std::time::Duration;

use tavern_backend::{Error, Result, Retention};
use tavern_nats::{NatsBackend, NatsConfig};
use tavern_testkit::Rig;
use tavern_testkit::engine::{NatsFlavor, NatsOptions, NatsServer};
use tokio::sync::OnceCell;

/// One server, started when the first node opens.
#[derive(Debug)]
pub(crate) struct NatsRig {
    server: OnceCell<NatsServer>,
    options: NatsOptions,
}

impl NatsRig {
    pub(crate) fn new(flavor: NatsFlavor) -> Self {
        Self { server: OnceCell::new(), options: NatsOptions::new(flavor) }
    }

    pub(crate) async fn server(&self) -> Result<&NatsServer> {
        let start = || NatsServer::start(self.options.clone());
        self.server.get_or_try_init(start).await.map_err(failed)
    }
}

/// Times as short as a busy machine allows.
pub(crate) fn quick(mut config: NatsConfig) -> NatsConfig {
    config.max_payload = 64 << 10;
    config.timeout = Duration::from_secs(2);
    config.ping_interval = Duration::from_millis(500);
    config.reconnect_max = Duration::from_millis(100);
    config.sweep_interval = Duration::from_millis(100);
    config
}

impl Rig for NatsRig {
    type Backend = NatsBackend;

    async fn open(&self, retention: Retention) -> Result<NatsBackend> {
        let config = NatsConfig::new("127.0.0.1", self.server().await?.port());
        NatsBackend::open(quick(config).with_retention(Some(retention))).await
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
