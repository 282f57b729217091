//! Promotions of real replicas: numbers that were given out are never given out again in silence.

use std::time::Duration;

use tavern_backend::{Append, Cursor};
use tavern_testkit::engine::{RedisOptions, RedisServer};
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tavern_testkit::{Client, Node, publish};

use crate::pair::{Pair, reasons, store_all, texts};
use crate::stand::until;

/// Nodes and clients stay connected while the replica that lost the tail takes over.
#[tokio::test]
async fn connected_clients_are_told_of_the_lost_tail() {
    let pair = Pair::start().await;
    let stage = pair.stage();
    let brokers = [stage.node().await.broker(), stage.node().await.broker()];
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    let mut cursors = Vec::new();
    for client in &mut clients {
        client.opened().await;
    }
    for n in 1..=10 {
        if n == 6 {
            pair.cut().await;
        }
        cursors.push(publish(&brokers[0], message("t", n.to_string())).await);
    }
    for client in &mut clients {
        assert_eq!(client.texts(10).await, texts(1..=10));
    }
    pair.fail_over().await;
    for n in 11..=15 {
        publish(&brokers[1], message("t", n.to_string())).await;
    }
    for client in &mut clients {
        assert_eq!(client.gap().await.reason.as_str(), "epoch");
        assert_eq!(client.texts(5).await, texts(11..=15), "all that is new");
    }
    for (n, cursor) in (1..).zip(cursors) {
        let (replay, _) = Client::resume(&brokers[0], &["t"], cursor).replay().await;
        assert_eq!(reasons(&replay), ["epoch"], "acknowledged messages were lost behind {n}");
        assert_eq!(replay.texts(), texts((n + 1..=5).chain(11..=15)), "behind {n}");
    }
}

/// Nobody remembers what was lost: whoever was within what is left goes on in silence.
#[tokio::test]
async fn every_node_restarts_with_the_failover() {
    let pair = Pair::start().await;
    let stage = pair.stage();
    let node = stage.node().await;
    let mut cursors = store_all(&node, 1..=5).await;
    pair.cut().await;
    cursors.extend(store_all(&node, 6..=10).await);
    stage.close().await;
    pair.fail_over().await;
    let node = stage.node().await;
    store_all(&node, 11..=17).await;
    let broker = stage.node().await.broker();
    for (n, cursor) in (1..).zip(cursors) {
        let mut client = Client::resume(&broker, &["t"], cursor);
        if n <= 5 {
            let expected = texts((n + 1..=5).chain(11..=17));
            assert_eq!(client.complete_replay().await, expected, "behind {n}");
        } else {
            let (replay, _) = client.replay().await;
            assert_eq!(reasons(&replay), ["epoch"], "{n} is lost");
            assert_eq!(replay.texts(), texts(11..=17), "behind {n}");
        }
    }
}

/// Who publishes first saw nothing of the lost tail; who saw it comes later.
#[tokio::test]
async fn the_first_publisher_saw_nothing_of_the_lost_tail() {
    let pair = Pair::start().await;
    let stage = pair.stage();
    let witness = stage.node().await;
    let broker = witness.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let stranger = stage.node().await;
    let mut cursors = store_all(&stranger, 1..=5).await;
    pair.cut().await;
    cursors.extend(store_all(&stranger, 6..=10).await);
    assert_eq!(client.texts(10).await, texts(1..=10));
    // It comes back when the others have gone on.
    witness.cable().cut();
    pair.fail_over().await;
    within("the stranger is back", stranger.bus().health().wait_up()).await;
    let first = store_new(&stranger, 11).await;
    assert_ne!(first.0.epoch, cursors[0].0.epoch, "whoever appends opens the epoch");
    let after = first.0.seq;
    assert_eq!(after, cursors[5].0.seq, "the number was given out before");
    store_all(&stranger, 12..=17).await;
    let other = stage.node().await.broker();
    let silent = Client::resume(&other, &["t"], cursors[4]).complete_replay().await;
    assert_eq!(silent, texts(11..=17), "nobody knows of a loss yet");

    within("the witness is back", witness.cable().heal()).await.unwrap();
    assert_eq!(client.gap().await.reason.as_str(), "epoch");
    assert_eq!(client.texts(7).await, texts(11..=17));
    publish(&broker, message("t", "18")).await;
    let fork = stranger.head().await.lineage.forks[0];
    assert_eq!(
        (fork.at, fork.lost_through),
        (after - 1, cursors[9].0.seq),
        "it says what it knows"
    );
}

/// A replica that never got anything is promoted: another log begins.
#[tokio::test]
async fn a_replica_promoted_before_its_first_sync() {
    let pair = never_synced().await;
    let stage = pair.stage();
    let broker = stage.node().await.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let mut cursors = Vec::new();
    for n in 1..=5 {
        cursors.push(publish(&broker, message("t", n.to_string())).await);
    }
    assert_eq!(client.texts(5).await, texts(1..=5));
    pair.fail_over().await;
    for n in 6..=12 {
        publish(&broker, message("t", n.to_string())).await;
    }
    assert_eq!(client.gap().await.reason.as_str(), "epoch");
    assert_eq!(client.texts(7).await, texts(6..=12));
    let other = stage.node().await.broker();
    for cursor in cursors {
        let (replay, _) = Client::resume(&other, &["t"], cursor).replay().await;
        assert_eq!(reasons(&replay), ["epoch"], "nothing is known of that log");
    }
}

/// The same, and all nodes restart with it: as if nothing had been before.
#[tokio::test]
async fn a_replica_promoted_empty_and_nobody_remembers() {
    let pair = never_synced().await;
    let stage = pair.stage();
    let cursors = store_all(&stage.node().await, 1..=5).await;
    stage.close().await;
    pair.fail_over().await;
    let node = stage.node().await;
    store_all(&node, 6..=12).await;
    let broker = node.broker();
    for cursor in cursors {
        let (replay, _) = Client::resume(&broker, &["t"], cursor).replay().await;
        assert_eq!(reasons(&replay), ["epoch"], "the same numbers, another log");
    }
}

/// The replica had everything: whoever is connected or comes back notices nothing.
#[tokio::test]
async fn a_promotion_that_lost_nothing_costs_no_gap() {
    let pair = Pair::start().await;
    let stage = pair.stage();
    let brokers = [stage.node().await.broker(), stage.node().await.broker()];
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    for client in &mut clients {
        client.opened().await;
    }
    let mut cursors = Vec::new();
    for n in 1..=10 {
        cursors.push(publish(&brokers[0], message("t", n.to_string())).await);
    }
    for client in &mut clients {
        assert_eq!(client.texts(10).await, texts(1..=10));
    }
    within("the replica has all", pair.second.wait_synced()).await.unwrap();
    pair.fail_over().await;
    for n in 11..=20 {
        cursors.push(publish(&brokers[n % 2], message("t", n.to_string())).await);
    }
    assert_ne!(cursors[0].0.epoch, cursors[19].0.epoch, "it is another server all the same");
    for client in &mut clients {
        assert_eq!(client.texts(10).await, texts(11..=20));
    }
    for (n, cursor) in (1..).zip(cursors) {
        let replayed = Client::resume(&brokers[1], &["t"], cursor).complete_replay().await;
        assert_eq!(replayed, texts(n + 1..=20));
    }
}

/// A server is made a replica and promoted again, with less than it had, while a node that has
/// nothing to say stays connected to it: neither the connection nor the run id tell.
#[tokio::test]
async fn the_same_server_demoted_and_promoted_again() {
    let pair = quiet(&Pair::start().await);
    let stage = pair.stage();
    let idle = stage.node().await;
    let other = stage.node().await;
    let mut cursors = store_all(&other, 1..=5).await;
    pair.cut().await;
    cursors.extend(store_all(&other, 6..=10).await);
    let run_id = pair.first.run_id().await.unwrap();
    pair.second.promote().await.unwrap();
    pair.first.follow(&pair.second).await.unwrap();
    within("it forgets the tail", pair.first.wait_synced()).await.unwrap();
    pair.first.promote().await.unwrap();
    assert_eq!(pair.first.run_id().await.unwrap(), run_id);

    let connects = idle.bus().health().get().connects;
    let first = store_new(&idle, 11).await;
    assert_eq!(idle.bus().health().get().connects, connects, "nobody cut its connections");
    assert_eq!(first.0.seq, cursors[5].0.seq, "the number was given out before");
    assert_ne!(first.0.epoch, cursors[5].0.epoch, "in another epoch");
    let lineage = idle.head().await.lineage;
    assert_eq!(lineage.forks.len(), 1, "{lineage:?}");
    assert_eq!(lineage.forks[0].at, cursors[4].0.seq);
}

/// A node whose server became a replica that lags gets an error or the truth, never what is old.
#[tokio::test]
async fn a_lagging_replica_is_never_read() {
    let pair = quiet(&Pair::start().await);
    let stage = pair.stage();
    let idle = stage.node().await;
    store_all(&idle, 1..=5).await;
    within("the replica has all", pair.second.wait_synced()).await.unwrap();
    pair.second.promote().await.unwrap();
    // The first stays what it is, and falls behind.
    pair.second.cut_replication().await.unwrap();
    pair.first.follow(&pair.second).await.unwrap();
    let elsewhere = pair.with(|config| {
        config.addresses.remove(0);
    });
    let other = elsewhere.stage().node().await;
    let last = store_all(&other, 6..=10).await[4];

    until("the node finds the primary", || async {
        match idle.bus().head().await {
            Ok(head) => {
                assert_eq!(head.position, last.0, "not what a replica says");
                true
            }
            Err(_) => false,
        }
    })
    .await;
    assert_eq!(idle.texts().await, texts(1..=10));
    let found = stage.node().await.head().await.position;
    assert_eq!(found, last.0, "the replica's address comes first");
    other.bus().close().await.unwrap();
}

/// A primary without replicas changes its replication id: one epoch more, however many nodes are
/// connected, and no gap.
#[tokio::test]
async fn another_replication_id_is_one_epoch_and_no_gap() {
    let options = RedisOptions::default().with_config("repl-backlog-ttl 1");
    let pair = quiet(&Pair::start_with(options).await);
    let stage = pair.stage();
    let nodes = [stage.node().await, stage.node().await, stage.node().await];
    let broker = nodes[2].broker();
    let mut client = Client::fresh(&broker, &["t"]);
    let opened = client.opened().await;
    store_all(&nodes[0], 1..=5).await;
    let before = pair.first.info("master_replid").await.unwrap();
    pair.second.kill().await.unwrap();
    until("the primary changes its replication id", || async {
        pair.first.info("master_replid").await.unwrap() != before
    })
    .await;
    let mut numbers = 6..=25;
    while let Some(n) = numbers.next() {
        store_all(&nodes[0], [n]).await;
        store_all(&nodes[1], numbers.next()).await;
    }
    assert_eq!(client.texts(25).await, texts(1..=25), "and no gap");
    let lineage = nodes[0].head().await.lineage;
    assert_eq!(lineage.forks.len(), 1, "{lineage:?}");
    let replayed = Client::resume(&broker, &["t"], opened).complete_replay().await;
    assert_eq!(replayed, texts(1..=25));
}

/// A pair of which the replica gets nothing from the beginning.
async fn never_synced() -> Pair {
    let first = RedisServer::start(RedisOptions::default()).await.unwrap();
    first.cut_replication().await.unwrap();
    let second = RedisServer::start(RedisOptions::default()).await.unwrap();
    second.follow(&first).await.unwrap();
    Pair::of(first, second)
}

/// Nodes that ask the server nothing of their own accord.
fn quiet(pair: &Pair) -> Pair {
    pair.with(|config| config.sweep_interval = Duration::from_secs(3600))
}

/// Publishes through a node that knows nothing of what the log held.
async fn store_new(node: &Node, n: u32) -> Cursor {
    let publications = vec![node.publication(message("t", n.to_string()))];
    let append = Append { known: None, publications };
    let published = within("an append", node.bus().append(append)).await.unwrap();
    match published.as_slice() {
        [tavern_backend::Published::Stored(position)] => Cursor(*position),
        other => panic!("stored, not {other:?}"),
    }
}
