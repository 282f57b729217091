//! A rig on a cluster.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::Value;
use tavern_backend::{Result, Retention};
use tavern_nats::{NatsBackend, NatsConfig};
use tavern_testkit::engine::{NatsCluster, NatsOptions, NatsServer};
use tavern_testkit::{Rig, Stage};

use crate::kit::{failed, quick};

/// Three servers.
pub(crate) async fn start(options: impl Into<NatsOptions>) -> Arc<NatsCluster> {
    Arc::new(NatsCluster::start(options, 3).await.unwrap())
}

/// A namespace that all three servers hold.
#[derive(Debug, Clone)]
pub(crate) struct ClusterRig {
    pub(crate) cluster: Arc<NatsCluster>,
    /// Letters, digits and `-`: what stands in the streams' names as it is.
    pub(crate) namespace: String,
    /// Whether nothing else uses the cluster, so that it may be made to fail.
    pub(crate) alone: bool,
}

impl ClusterRig {
    pub(crate) fn new(cluster: &Arc<NatsCluster>, namespace: &str) -> Self {
        Self { cluster: Arc::clone(cluster), namespace: namespace.to_owned(), alone: true }
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage::new(self.clone())
    }

    /// How a node finds the cluster.
    pub(crate) fn config(&self) -> NatsConfig {
        let ports = self.cluster.ports();
        let mut config = quick(NatsConfig::new("127.0.0.1", ports[0]));
        config.servers = ports.into_iter().map(|port| ("127.0.0.1".to_owned(), port)).collect();
        config.replicas = 3;
        if !self.alone {
            // Where others keep the servers busy, an answer may take a while.
            config.timeout = Duration::from_secs(8);
        }
        config.with_namespace(&self.namespace)
    }

    /// The stream of the entries.
    pub(crate) fn log(&self) -> String {
        format!("TAVERN_{}", self.namespace)
    }

    /// The stream of what the log says of itself.
    pub(crate) fn meta(&self) -> String {
        format!("TAVERN_{}_META", self.namespace)
    }

    /// Takes the namespace away: every stream costs all servers something, all the time.
    pub(crate) async fn remove(&self) -> io::Result<()> {
        for stream in [self.log(), self.meta()] {
            match self.cluster.js(&format!("STREAM.DELETE.{stream}"), Value::Null).await {
                // A case that opened no node.
                Err(error) if error.to_string().contains("not found") => {}
                result => drop(result?),
            }
        }
        Ok(())
    }

    /// Before the cluster is made to fail.
    ///
    /// # Panics
    ///
    /// If others use it.
    fn check_alone(&self) {
        assert!(self.alone, "{} does not leave the cluster alone: see `hurts`", self.namespace);
    }

    async fn kill_all(&self) -> io::Result<()> {
        let servers = || self.cluster.servers().iter();
        try_join_all(servers().map(NatsServer::kill)).await?;
        try_join_all(servers().map(NatsServer::start_again)).await?;
        self.cluster.wait_ready().await
    }
}

impl Rig for ClusterRig {
    type Backend = NatsBackend;

    async fn open(&self, retention: Retention) -> Result<NatsBackend> {
        NatsBackend::open(self.config().with_retention(Some(retention))).await
    }

    async fn restart(&self) -> Result<()> {
        self.check_alone();
        self.kill_all().await.map_err(failed)
    }

    async fn checkpoint(&self) -> Result<()> {
        self.check_alone();
        self.cluster.checkpoint().await.map_err(failed)
    }

    async fn rewind(&self) -> Result<()> {
        self.check_alone();
        self.cluster.rewind().await.map_err(failed)
    }
}
