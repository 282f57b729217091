//! A rig on a cluster.

use std::io;
use std::sync::Arc;

use tavern_backend::{Result, Retention};
use tavern_redis::{RedisBackend, RedisConfig, Topology};
use tavern_testkit::Rig;
use tavern_testkit::engine::{RedisCluster, RedisOptions};

use super::suite::Namespace;
use crate::kit::{failed, quick};

/// Three masters with a replica each.
pub(crate) async fn start(options: RedisOptions) -> Arc<RedisCluster> {
    Arc::new(RedisCluster::start(options, 3, 1).await.unwrap())
}

/// How a node finds the cluster.
pub(crate) fn config(cluster: &RedisCluster, namespace: &str) -> RedisConfig {
    let mut config = quick(RedisConfig::new("127.0.0.1", cluster.nodes()[0].port()));
    config.addresses =
        cluster.nodes().iter().map(|node| ("127.0.0.1".to_owned(), node.port())).collect();
    config.topology = Topology::Cluster;
    config.with_namespace(namespace)
}

/// Takes all data away, which every failover would copy from server to server.
pub(crate) async fn empty(cluster: &RedisCluster) {
    for node in cluster.nodes() {
        if node.info("role").await.unwrap() == "master" {
            node.cli(&["FLUSHALL"]).await.unwrap();
        }
    }
}

/// A namespace on a cluster. What is lost is lost by a replica that takes over while the master
/// still runs, which becomes its replica; a restart is the death of the master.
#[derive(Debug)]
pub(crate) struct ClusterRig {
    pub(crate) cluster: Arc<RedisCluster>,
    pub(crate) namespace: Namespace,
}

impl ClusterRig {
    async fn sync(&self) -> io::Result<()> {
        let key = self.namespace.key();
        self.cluster.master_of(&key).await?.mend_replication().await?;
        for replica in self.cluster.replicas_of(&key).await? {
            replica.mend_replication().await?;
            replica.wait_synced().await?;
        }
        Ok(())
    }

    async fn remember(&self) -> io::Result<()> {
        self.sync().await?;
        self.cluster.master_of(&self.namespace.key()).await?.cut_replication().await
    }

    async fn lose(&self) -> io::Result<()> {
        self.cluster.take_over(&self.namespace.key()).await?;
        // So that the same can be lost again.
        self.remember().await
    }

    async fn kill(&self) -> io::Result<()> {
        self.sync().await?;
        let (dead, _) = self.cluster.kill_master_of(&self.namespace.key()).await?;
        dead.start_again().await?;
        self.cluster.wait_ok().await?;
        dead.wait_synced().await
    }
}

impl Rig for ClusterRig {
    type Backend = RedisBackend;

    async fn open(&self, retention: Retention) -> Result<RedisBackend> {
        let config = config(&self.cluster, &self.namespace.name);
        let config = self.namespace.patient(config);
        RedisBackend::open(config.with_retention(Some(retention))).await
    }

    async fn restart(&self) -> Result<()> {
        self.namespace.check_alone();
        self.kill().await.map_err(failed)
    }

    async fn checkpoint(&self) -> Result<()> {
        self.namespace.check_alone();
        self.remember().await.map_err(failed)
    }

    async fn rewind(&self) -> Result<()> {
        self.namespace.check_alone();
        self.lose().await.map_err(failed)
    }
}
