//! A replica takes over: what it had not yet got is lost, and told.

use std::io;
use std::sync::Arc;

use tavern_backend::{Cursor, Result, Retention};
use tavern_postgres::{PostgresBackend, PostgresConfig};
use tavern_testkit::engine::{PostgresOptions, PostgresPair};
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tavern_testkit::{Client, Rig, Stage, publish};

use crate::kit::quick;

#[derive(Debug, Clone)]
struct Pair(Arc<PostgresPair>, String);

impl Pair {
    async fn start() -> Self {
        let starting = PostgresPair::start(PostgresOptions::new().without_fsync());
        let pair = within("a pair starts", starting).await.unwrap();
        let url = pair.url("postgres", "postgres");
        Self(Arc::new(pair), url)
    }
}

impl Rig for Pair {
    type Backend = PostgresBackend;

    async fn open(&self, retention: Retention) -> Result<PostgresBackend> {
        let config = quick(PostgresConfig::new(&self.1)).with_retention(Some(retention));
        PostgresBackend::open(config).await
    }

    async fn restart(&self) -> Result<()> {
        Err(crate::kit::failed(io::ErrorKind::Unsupported.into()))
    }

    async fn checkpoint(&self) -> Result<()> {
        Err(crate::kit::failed(io::ErrorKind::Unsupported.into()))
    }

    async fn rewind(&self) -> Result<()> {
        Err(crate::kit::failed(io::ErrorKind::Unsupported.into()))
    }
}

fn texts(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|n| n.to_string()).collect()
}

/// Nodes and clients stay connected while the replica that lost the tail takes over.
async fn the_lost_tail_is_told(pair: Pair) {
    let stage = Stage::new(pair.clone());
    let brokers = [stage.node().await.broker(), stage.node().await.broker()];
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    let mut cursors: Vec<Cursor> = Vec::new();
    for client in &mut clients {
        client.opened().await;
    }
    for n in 1..=10 {
        if n == 6 {
            pair.0.other().wait_synced(pair.0.primary()).await.unwrap();
            pair.0.other().cut_replication().await.unwrap();
        }
        cursors.push(publish(&brokers[0], message("t", n.to_string())).await);
    }
    for client in &mut clients {
        assert_eq!(client.texts(10).await, texts(1..=10));
    }
    within("a failover", pair.0.fail_over()).await.unwrap();
    for n in 11..=15 {
        publish(&brokers[1], message("t", n.to_string())).await;
    }
    for client in &mut clients {
        assert_eq!(client.gap().await.reason.as_str(), "epoch");
        assert_eq!(client.texts(5).await, texts(11..=15), "all that is new");
    }
    for (n, cursor) in (1..).zip(cursors) {
        let (replay, _) = Client::resume(&brokers[0], &["t"], cursor).replay().await;
        let reasons: Vec<_> = replay.reasons().iter().map(|reason| reason.as_str()).collect();
        assert_eq!(reasons, ["epoch"], "acknowledged messages were lost behind {n}");
        assert_eq!(replay.texts(), texts((n + 1..=5).chain(11..=15)), "behind {n}");
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_a_replica_that_lost_the_tail_is_told() {
    the_lost_tail_is_told(Pair::start().await).await;
}

/// The same where the address names both servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_the_one_that_writes_is_found() {
    let mut pair = Pair::start().await;
    pair.1 = pair.0.url_of_both("postgres", "postgres");
    the_lost_tail_is_told(pair).await;
}

/// A replica that had everything: nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_nothing_is_no_gap() {
    let pair = Pair::start().await;
    let stage = Stage::new(pair.clone());
    let broker = stage.node().await.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let cursor = publish(&broker, message("t", "1")).await;
    publish(&broker, message("t", "2")).await;
    assert_eq!(client.texts(2).await, ["1", "2"]);
    pair.0.other().wait_synced(pair.0.primary()).await.unwrap();
    within("a failover", pair.0.fail_over()).await.unwrap();
    publish(&broker, message("t", "3")).await;
    assert_eq!(client.texts(1).await, ["3"], "without a gap");
    let mut late = Client::resume(&broker, &["t"], cursor);
    assert_eq!(late.complete_replay().await, ["2", "3"]);
    stage.close().await;
}
