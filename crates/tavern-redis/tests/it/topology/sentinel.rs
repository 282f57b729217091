//! A pair under Sentinels, of which the primary dies.

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::Bus;
use tavern_redis::RedisBackend;
use tavern_testkit::engine::{Flavor, RedisOptions, RedisSentinel};
use tavern_testkit::say::message;
use tavern_testkit::{Client, Node, Stage, publish};

use super::guarded::{self, SentinelRig};
use super::suite::{Namespace, play_all};
use crate::pair::texts;
use crate::stand::{store, until};

#[test]
fn every_case_passes_under_sentinels() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // A failover takes seconds, in which nothing happens: several at once.
    let start = || guarded::start(RedisOptions::new(Flavor::Redis));
    let pairs = runtime.block_on(async { <[_; 3]>::from(tokio::join!(start(), start(), start())) });
    let calm = &pairs[0];
    let patience = async |millis: [&str; 3]| {
        for pair in &pairs {
            for (sentinel, millis) in pair.sentinels().iter().zip(millis) {
                let set = ["SENTINEL", "SET", pair.name(), "down-after-milliseconds", millis];
                sentinel.cli(&set).await.unwrap();
            }
        }
    };
    // With so much to do none is to count as dead.
    runtime.block_on(patience(["15000"; 3]));
    play_all(
        &pairs,
        AT_ONCE,
        |pair, namespace| SentinelRig { pair: Arc::clone(pair), namespace },
        || {
            runtime.block_on(patience(["1000", "1400", "1800"]));
            // Or every failover would copy it from server to server.
            let flush = async { calm.master().await.unwrap().cli(&["FLUSHALL"]).await.unwrap() };
            runtime.block_on(flush);
        },
    );
}

/// Most of a case is waiting.
const AT_ONCE: usize = 3;

/// The primary dies while clients are connected: they stay, are told that the backend is away and
/// that it is back, and lose nothing.
#[tokio::test]
async fn connected_clients_see_the_primary_die() {
    let pair = guarded::start(RedisOptions::default()).await;
    let rig = SentinelRig { pair: Arc::clone(&pair), namespace: Namespace::of("dying") };
    let stage = Stage::new(rig);
    let nodes = [stage.node().await, stage.node().await];
    let brokers = nodes.each_ref().map(Node::broker);
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    for client in &mut clients {
        client.opened().await;
    }
    let publish_next = async |from: u32| {
        for n in from..from + 10 {
            publish(&brokers[usize::from(n % 2 == 0)], message("t", n.to_string())).await;
        }
    };
    publish_next(1).await;
    for client in &mut clients {
        assert_eq!(client.texts(10).await, texts(1..=10));
    }
    guarded::replica(&pair).await.unwrap().wait_synced().await.unwrap();
    // What is published meanwhile waits.
    let dying = async { pair.kill_master().await.unwrap() };
    let waiting = async {
        until("the link is lost", || async { !nodes[0].bus().health().get().up }).await;
        publish_next(11).await;
    };
    let ((dead, primary), ()) = tokio::join!(dying, waiting);
    for client in &mut clients {
        let seen = until_text(client, "20").await;
        let at = |name: &str| seen.iter().position(|event| event.contains(name));
        assert!(at("tavern-degraded").is_some(), "{seen:?}");
        assert!(at("tavern-degraded") < at("tavern-recovered"), "{seen:?}");
        assert_eq!(at("tavern-replay-gap"), None, "{seen:?}");
        let data = seen.iter().filter_map(|event| event.split_once("\ndata: "));
        let data: Vec<_> = data.filter_map(|(_, data)| data.trim().parse::<u32>().ok()).collect();
        assert_eq!(data, (11..=20).collect::<Vec<_>>());
    }
    guarded::bring_back(&pair, dead, primary).await.unwrap();
    publish_next(21).await;
    assert_eq!(nodes[1].texts().await, texts(1..=30), "each once, in order");
}

/// Of the Sentinels that are configured the first are gone, say nothing, or name a server that is
/// long dead.
#[tokio::test]
async fn the_first_sentinels_are_dead_or_wrong() {
    let pair = Arc::new(RedisSentinel::start(RedisOptions::default(), 4).await.unwrap());
    let [dead, hanging, wrong, _] = pair.sentinels() else { panic!("four Sentinels") };
    dead.kill().await.unwrap();
    hanging.pause().unwrap();
    let port = dead.port().to_string();
    wrong.cli(&["SENTINEL", "REMOVE", pair.name()]).await.unwrap();
    wrong.cli(&["SENTINEL", "MONITOR", pair.name(), "127.0.0.1", &port, "2"]).await.unwrap();
    let mut config = guarded::config(&pair, "dead");
    config.timeout = Duration::from_secs(10);
    let opening = RedisBackend::open(config);
    let opened = tokio::time::timeout(Duration::from_secs(5), opening).await;
    let bus = Bus::new(opened.expect("nobody waits for the dead").unwrap());
    store(&bus, message("t", "1")).await;
    bus.close().await.unwrap();
    hanging.resume().unwrap();
}

/// The events up to the message with this text, as they go over the wire.
async fn until_text(client: &mut Client, text: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let delivery = client.next(text).await.unwrap();
        let event = String::from_utf8(delivery.encode().to_vec()).unwrap();
        let last = event.contains(&format!("data: {text}\n"));
        seen.push(event);
        if last {
            return seen;
        }
    }
}
