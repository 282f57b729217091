//! `WAIT` as a durability choice: what is acknowledged, a replica has.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tavern_backend::{Append, Bus, Error, Published};
use tavern_redis::{Durability, RedisBackend, RedisConfig};
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tavern_testkit::{Client, publish};

use crate::pair::{Pair, store_all, texts};
use crate::stand::until;

/// A pair, and nodes that wait for the replica.
async fn waiting() -> Pair {
    let timeout = Duration::from_millis(300);
    let pair = Pair::start().await;
    // A replica acknowledges nothing for up to a second behind its first sync.
    let mut conn = pair.first.connect().await.unwrap();
    conn.call(&["SET", "something", "to wait for"]).await.unwrap();
    assert_eq!(conn.call(&["WAIT", "1", "5000"]).await.unwrap().int(), Some(1));
    pair.with(move |config| {
        config.durability = Durability::Replicas { replicas: 1, timeout };
    })
}

async fn send(bus: &Bus, append: &Append) -> Result<Published, Error> {
    let mut published = within("an append", bus.append(append.clone())).await?;
    Ok(published.remove(0))
}

#[tokio::test]
async fn what_a_replica_has_is_stored() {
    let pair = waiting().await;
    let node = pair.stage().node().await;
    store_all(&node, 1..=20).await;
    // Without another word from the primary, the replica has it all.
    pair.fail_over().await;
    let node = pair.with(|_| {}).stage().node().await;
    assert_eq!(node.texts().await, texts(1..=20));
}

/// Without the replica the outcome is unknown; sent again under its key it is there once, and
/// acknowledged when the replica is back.
#[tokio::test]
async fn what_no_replica_has_is_unknown_until_one_has() {
    let pair = waiting().await;
    let node = pair.stage().node().await;
    let first = store_all(&node, [1]).await[0];
    pair.cut().await;
    let publications = vec![node.publication(message("t", "2"))];
    let append = Append { known: None, publications };
    for _ in 0..2 {
        match send(node.bus(), &append).await {
            Err(Error::OutcomeUnknown { .. }) => {}
            other => panic!("unknown, not {other:?}"),
        }
    }
    // A new connection has written nothing that a replica could lack.
    pair.first.cli(&["CLIENT", "KILL", "TYPE", "normal"]).await.unwrap();
    let connects = node.bus().health().get().connects;
    until("a new link", || async { node.bus().health().get().connects > connects }).await;
    match send(node.bus(), &append).await {
        Err(Error::OutcomeUnknown { .. }) => {}
        other => panic!("unknown, not {other:?}"),
    }
    pair.first.mend_replication().await.unwrap();
    let position = within("the replica comes back", async {
        loop {
            match send(node.bus(), &append).await {
                Err(Error::OutcomeUnknown { .. }) => {}
                Ok(Published::Duplicate(position)) => return position,
                other => panic!("unknown or a duplicate, not {other:?}"),
            }
        }
    })
    .await;
    assert_eq!(position.seq, first.0.seq + 1);
    assert_eq!(node.texts().await, texts([1, 2]), "once");
}

/// As a publisher sees it: it waits, and then it is stored.
#[tokio::test]
async fn a_publisher_waits_for_the_replica() {
    let pair = waiting().await;
    let node = pair.stage().node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    pair.cut().await;
    let stored = AtomicU32::new(0);
    let calls = node.cable().calls().publish;
    let publishing = async {
        for n in 2..=4 {
            publish(&broker, message("t", n.to_string())).await;
            stored.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mending = async {
        assert_eq!(client.texts(2).await, texts(1..=2), "it is in the log, and everybody has it");
        until("it is sent again", || async { node.cable().calls().publish > calls + 2 }).await;
        assert_eq!(stored.load(Ordering::Relaxed), 0, "who published it does not hear so");
        pair.first.mend_replication().await.unwrap();
    };
    tokio::join!(publishing, mending);
    assert_eq!(client.texts(2).await, texts(3..=4));
    assert_eq!(node.texts().await, texts(1..=4), "each once, in order");
}

/// What was acknowledged survives the failover to that replica; what was not is sent again.
#[tokio::test]
async fn a_failover_loses_nothing_acknowledged() {
    let pair = waiting().await;
    let stage = pair.stage();
    let broker = stage.node().await.broker();
    let publishing = |n: u32| publish(&broker, message("t", n.to_string()));
    for n in 1..=5 {
        publishing(n).await;
    }
    pair.cut().await;
    // Pushed to everybody, acknowledged to nobody.
    let rest = async {
        for n in 6..=10 {
            publishing(n).await;
        }
    };
    let failing = async {
        let has = || async { pair.first.info("master_repl_offset").await.unwrap() };
        let before = has().await;
        until("the primary has more than the replica", || async { has().await != before }).await;
        pair.fail_over().await;
        // The promoted one has no replica of its own.
        pair.first.start_again().await.unwrap();
        pair.first.follow(&pair.second).await.unwrap();
    };
    tokio::join!(rest, failing);
    let node = stage.node().await;
    assert_eq!(node.texts().await, texts(1..=10), "each once, in order");
}

/// For the server, no time is for ever, and nobody could append meanwhile.
#[tokio::test]
async fn nobody_waits_for_ever() {
    for (replicas, timeout) in [(0, Duration::from_secs(1)), (1, Duration::ZERO)] {
        let mut config = RedisConfig::new("127.0.0.1", 1);
        config.durability = Durability::Replicas { replicas, timeout };
        let refused = RedisBackend::open(config).await.unwrap_err();
        assert!(matches!(refused, Error::Config { .. }), "{refused:?}");
    }
}
