//! A rig on a pair under Sentinels.

use std::io;
use std::sync::Arc;

use tavern_backend::{Result, Retention};
use tavern_redis::{RedisBackend, RedisConfig, Topology};
use tavern_testkit::Rig;
use tavern_testkit::engine::{RedisOptions, RedisSentinel, RedisServer};

use super::suite::Namespace;
use crate::kit::{failed, quick};

/// A pair under three Sentinels.
pub(crate) async fn start(options: RedisOptions) -> Arc<RedisSentinel> {
    Arc::new(RedisSentinel::start(options, 3).await.unwrap())
}

/// How a node finds the primary.
pub(crate) fn config(pair: &RedisSentinel, namespace: &str) -> RedisConfig {
    let mut config = quick(RedisConfig::new("127.0.0.1", pair.sentinels()[0].port()));
    let sentinels = pair.sentinels().iter();
    config.addresses = sentinels.map(|node| ("127.0.0.1".to_owned(), node.port())).collect();
    config.topology = Topology::Sentinel;
    config.sentinel_master = Some(pair.name().to_owned());
    config.with_namespace(namespace)
}

/// The server that is not the primary.
pub(crate) async fn replica(pair: &RedisSentinel) -> io::Result<&RedisServer> {
    let primary = pair.master().await?.port();
    let other = pair.servers().iter().find(|server| server.port() != primary);
    other.ok_or_else(|| io::Error::other("there is no replica"))
}

/// Starts the dead one as the replica of the other, without waiting until the Sentinels do it.
pub(crate) async fn bring_back(
    pair: &RedisSentinel,
    dead: &RedisServer,
    primary: &RedisServer,
) -> io::Result<()> {
    dead.start_again().await?;
    dead.follow(primary).await?;
    dead.mend_replication().await?;
    dead.wait_synced().await?;
    pair.wait_ready().await
}

/// A namespace on such a pair. The primary dies each time; what is lost is lost because the replica
/// got nothing for a while.
#[derive(Debug)]
pub(crate) struct SentinelRig {
    pub(crate) pair: Arc<RedisSentinel>,
    pub(crate) namespace: Namespace,
}

impl SentinelRig {
    async fn sync(&self) -> io::Result<()> {
        self.pair.master().await?.mend_replication().await?;
        replica(&self.pair).await?.wait_synced().await
    }

    async fn remember(&self) -> io::Result<()> {
        self.sync().await?;
        self.pair.wait_ready().await?;
        self.pair.master().await?.cut_replication().await
    }

    async fn kill(&self) -> io::Result<()> {
        let (dead, primary) = self.pair.kill_master().await?;
        bring_back(&self.pair, dead, primary).await
    }
}

impl Rig for SentinelRig {
    type Backend = RedisBackend;

    async fn open(&self, retention: Retention) -> Result<RedisBackend> {
        let config = config(&self.pair, &self.namespace.name);
        let config = self.namespace.patient(config);
        RedisBackend::open(config.with_retention(Some(retention))).await
    }

    async fn restart(&self) -> Result<()> {
        self.namespace.check_alone();
        self.sync().await.map_err(failed)?;
        self.kill().await.map_err(failed)
    }

    async fn checkpoint(&self) -> Result<()> {
        self.namespace.check_alone();
        self.remember().await.map_err(failed)
    }

    async fn rewind(&self) -> Result<()> {
        self.namespace.check_alone();
        self.kill().await.map_err(failed)?;
        // So that the same can be lost again.
        self.remember().await.map_err(failed)
    }
}
