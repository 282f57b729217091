//! Health is proved by delivery: a link that is up and brings nothing is found, said and built anew.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tavern_backend::{Backend, Bus, Cable, Keep, MemoryEngine, Retention};
use tavern_broker::{Broker, BrokerConfig, Delivery};
use tokio::time::Instant;

use crate::faulty::Faulty;
use crate::kit::{config, engine, message, next, open, silence, store};

const SECOND: Duration = Duration::from_secs(1);
/// More than a test loses.
const ALL: u64 = 1 << 40;

fn probing() -> BrokerConfig {
    let mut config = config();
    config.probe_interval = SECOND;
    config
}

/// A node on an engine that pushes, and the hand on its cable.
fn pushed(engine: &MemoryEngine) -> (Broker, Cable, Arc<std::sync::Mutex<Vec<String>>>) {
    let faulty = Faulty::new(engine).pushing();
    let (cable, rebuilt) = (faulty.cable(), faulty.rebuilt());
    (Broker::builder().bus(Bus::new(faulty)).config(probing()).build().unwrap(), cable, rebuilt)
}

async fn until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let wait = async {
        while !ready() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(limit, wait).await.is_ok(), "not within {limit:?}: {what}");
}

fn degraded(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Degraded(_))
}

#[tokio::test(start_paused = true)]
async fn a_deaf_link_is_found_within_two_intervals_said_and_built_anew() {
    let engine = engine(Retention::default());
    let (broker, cable, rebuilt) = pushed(&engine);
    let other = engine.node();
    let other = Bus::new(other);
    let (mut stream, _) = open(&broker, &["t"]).await;
    store(&broker, "t", "1").await;
    assert_eq!(message(&mut stream).await.data().as_str(), "1");

    cable.lose_pushes(ALL);
    let deaf = Instant::now();
    let busy = async {
        for n in 0.. {
            other.publish(numbered(n)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let found = until("it is found", 2 * SECOND, || !broker.readiness().ready);
    tokio::select! { () = busy => unreachable!(), () = found => {} }
    assert!(deaf.elapsed() <= 2 * SECOND);
    assert!(broker.readiness().reasons[0].contains("deaf"), "{:?}", broker.readiness());
    let status = broker.status();
    assert!(!status.backend.delivers && status.backend.stats.connected);
    assert!(status.backend.reason.unwrap().contains("deaf"));
    assert_eq!(status.counters.deaf, 1);
    assert_eq!(rebuilt.lock().unwrap().len(), 1);

    // The next that comes proves the way. Nothing was lost: what did not come was read.
    cable.lose_pushes(0);
    store(&broker, "t", "last").await;
    until("it is trusted again", SECOND, || broker.readiness().ready).await;
    let (mut told, mut seen) = (Vec::new(), 0);
    loop {
        match next(&mut stream).await {
            Delivery::Message(message) if message.data().as_str() == "last" => break,
            Delivery::Message(message) => {
                assert_eq!(message.data().as_str(), seen.to_string());
                seen += 1;
            }
            other => told.push(other),
        }
    }
    assert!(seen > 5, "{seen}");
    assert!(matches!(&told[..], [Delivery::Degraded(_), ..]), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn one_lost_push_is_no_deafness() {
    let engine = engine(Retention::default());
    let (broker, cable, rebuilt) = pushed(&engine);
    let (mut stream, _) = open(&broker, &["t"]).await;
    for n in 0..10 {
        cable.lose_pushes(1);
        store(&broker, "t", n.to_string()).await;
        assert_eq!(message(&mut stream).await.data().as_str(), n.to_string());
        tokio::time::sleep(5 * SECOND).await;
    }
    assert!(rebuilt.lock().unwrap().is_empty());
    silence(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_published_a_canary_finds_a_deaf_link_within_two_intervals() {
    let engine = engine(Retention::default());
    let (broker, cable, rebuilt) = pushed(&engine);
    let (mut stream, _) = open(&broker, &["**"]).await;
    // It sings, and nobody hears of it.
    until("a canary", 3 * SECOND, || broker.status().counters.canaries > 2).await;
    assert!(broker.readiness().ready);
    silence(&mut stream).await;
    for _ in 0..20 {
        cable.lose_pushes(ALL);
        let deaf = Instant::now();
        until("it is found", 2 * SECOND, || !broker.readiness().ready).await;
        assert!(deaf.elapsed() <= 2 * SECOND);
        cable.lose_pushes(0);
        until("it is trusted again", 2 * SECOND, || broker.readiness().ready).await;
        // Another moment each time.
        tokio::time::sleep(Duration::from_millis(1 + fastrand::u64(..900))).await;
    }
    assert!(rebuilt.lock().unwrap().len() >= 20);
}

#[tokio::test(start_paused = true)]
async fn one_canary_serves_all_nodes() {
    let engine = engine(Retention::default());
    let nodes: Vec<_> = (0..10).map(|_| pushed(&engine)).collect();
    let mut streams = Vec::new();
    for (broker, _, _) in &nodes {
        streams.push(open(broker, &["t"]).await);
    }
    tokio::time::sleep(100 * SECOND).await;
    let canaries: u64 = nodes.iter().map(|node| node.0.status().counters.canaries).sum();
    // One at a time, where each of ten would send one a second.
    assert!((40..300).contains(&canaries), "{canaries}");
    assert!(nodes.iter().all(|(broker, _, rebuilt)| {
        broker.readiness().ready && rebuilt.lock().unwrap().is_empty()
    }));
}

#[tokio::test(start_paused = true)]
async fn no_canary_sings_where_nobody_listens_the_feed_reads_or_nothing_is_kept() {
    let quiet = async |broker: &Broker| {
        tokio::time::sleep(20 * SECOND).await;
        broker.status().counters.canaries == 0
    };
    let (alone, _, _) = pushed(&engine(Retention::default()));
    assert!(quiet(&alone).await, "nobody listens");

    let live = engine(Retention::default().with_default(Keep::live()));
    let (broker, _, _) = pushed(&live);
    let _stream = broker.subscribe(["t"]).open().unwrap();
    assert!(quiet(&broker).await, "nothing is kept");

    let read = crate::kit::broker_with(&engine(Retention::default()), probing());
    let _stream = open(&read, &["t"]).await;
    assert!(quiet(&read).await, "the feed reads");

    let faulty = Faulty::new(&engine(Retention::default())).pushing();
    let mut config = probing();
    config.canary = false;
    let off = Broker::builder().bus(Bus::new(faulty)).config(config).build().unwrap();
    let _stream = open(&off, &["t"]).await;
    assert!(quiet(&off).await, "it is not to");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_does_not_answer_is_said_within_two_intervals() {
    let silent = Arc::new(AtomicBool::new(false));
    let here = Arc::clone(&silent);
    let backend = Faulty::new(&engine(Retention::default())).head(move |inner, ()| {
        let silent = here.load(SeqCst);
        async move {
            if silent {
                pending::<()>().await;
            }
            inner.head().await
        }
    });
    let broker = Broker::builder().bus(Bus::new(backend)).config(probing()).build().unwrap();
    let (mut stream, _) = open(&broker, &["t"]).await;
    for _ in 0..5 {
        silent.store(true, SeqCst);
        until("it is found", 2 * SECOND, || !broker.readiness().ready).await;
        assert!(broker.readiness().reasons[0].contains("does not answer"));
        assert!(degraded(&next(&mut stream).await));
        // What comes nevertheless is delivered.
        store(&broker, "t", "x").await;
        assert_eq!(message(&mut stream).await.data().as_str(), "x");
        silent.store(false, SeqCst);
        until("it is trusted again", 3 * SECOND, || broker.readiness().ready).await;
        assert!(matches!(next(&mut stream).await, Delivery::Recovered(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_slow_and_asked_by_many_is_not_silent() {
    // A question waits for the one before: two of them take longer than an interval.
    let backend = Faulty::new(&engine(Retention::default())).head(|inner, ()| async move {
        tokio::time::sleep(Duration::from_millis(600)).await;
        inner.head().await
    });
    let mut config = probing();
    config.repair_patience = 5 * SECOND;
    let broker = Broker::builder().bus(Bus::new(backend)).config(config).build().unwrap();
    let (mut stream, _) = open(&broker, &["t"]).await;
    for _ in 0..20 {
        drop(open(&broker, &["t"]).await);
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    assert!(broker.readiness().ready, "{:?}", broker.readiness());
    store(&broker, "t", "x").await;
    let first = next(&mut stream).await;
    assert!(matches!(first, Delivery::Message(_)), "it was never in doubt: {first:?}");
}

fn numbered(n: u32) -> tavern_backend::MessageEnvelope {
    tavern_backend::MessageEnvelope::new("t".try_into().unwrap(), n.to_string())
}
