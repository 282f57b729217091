//! A log that is cut back under its nodes: what was lost is told, what is new is delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tavern_backend::{
    Backend, Bus, Cursor, Error, Keep, MemoryEngine, MessageEnvelope, Position, Published,
    Retention,
};
use tavern_broker::{Broker, BrokerConfig, Delivery, Subscription};

use crate::faulty::Faulty;
use crate::kit::{cabled, config, engine, open, store};

fn long_log() -> MemoryEngine {
    engine(Retention::default().with_default(Keep::new(1_000, Duration::ZERO)))
}

fn faulty(backend: Faulty, config: BrokerConfig) -> Broker {
    Broker::builder().bus(Bus::new(backend)).config(config).build().unwrap()
}

/// Publishes from another node.
async fn put(bus: &Bus, topic: &str, data: impl ToString) -> Position {
    let envelope = MessageEnvelope::new(topic.try_into().unwrap(), data.to_string());
    match bus.publish(envelope).await.unwrap() {
        Published::Stored(position) => position,
        other => panic!("not stored but {other:?}"),
    }
}

/// What a stream gets until it has been silent for a while: messages, and gaps as their reason.
async fn all(stream: &mut Subscription) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(delivery) = tokio::time::timeout(Duration::from_secs(3), stream.recv()).await {
        match delivery.expect("the stream goes on") {
            Delivery::Message(message) => all.push(message.data().as_str().to_owned()),
            Delivery::Gap(gap) => all.push(format!("{:?}", gap.reason)),
            _ => {}
        }
    }
    all
}

fn texts(numbers: impl Iterator<Item = u64>, prefix: &str) -> Vec<String> {
    numbers.map(|n| format!("{prefix}{n}")).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_pushed_beyond_a_fork_does_not_stand_in_for_what_is_there_now() {
    let engine = long_log();
    let mut config = config();
    // The fork comes while the hole is open.
    config.repair_delay = Duration::from_millis(400);
    config.probe_interval = Duration::from_secs(5);
    let (broker, cable) = cabled(&engine, config);
    let other = Bus::new(engine.node());
    let (mut stream, _) = open(&broker, &["t"]).await;
    for n in 1..=50 {
        put(&other, "t", n).await;
    }
    assert_eq!(all(&mut stream).await, texts(1..=50, ""));
    cable.lose_pushes(1);
    for n in 51..=60 {
        put(&other, "t", n).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(broker.status().watermark, Some(50));
    engine.rewind(55);
    for n in 56..=62 {
        put(&other, "t", format_args!("new{n}")).await;
    }
    let mut got = all(&mut stream).await;
    // That 56 to 60 were lost is told where the fork was noticed.
    got.retain(|got| got != "Epoch");
    assert_eq!(got, [texts(51..=55, ""), texts(56..=62, "new")].concat());
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_as_stored_and_had_not_arrived_is_told_when_a_fork_takes_it() {
    let engine = long_log();
    let mut config = config();
    config.repair_delay = Duration::from_millis(400);
    config.probe_interval = Duration::from_secs(5);
    let (broker, cable) = cabled(&engine, config);
    let other = Bus::new(engine.node());
    let (mut stream, at) = open(&broker, &["t"]).await;
    put(&other, "t", 1).await;
    assert_eq!(all(&mut stream).await, ["1"]);
    cable.lose_pushes(u64::MAX);
    for n in 2..=10 {
        store(&broker, "t", n.to_string()).await;
    }
    engine.rewind(5);
    cable.lose_pushes(0);
    put(&other, "elsewhere", "new").await;
    let mut got = all(&mut stream).await;
    got.sort();
    assert_eq!(got, ["2", "3", "4", "5", "Epoch"]);

    // And to who comes to a node that never saw any of it.
    let elsewhere = crate::kit::broker(&engine);
    let mut resumed = elsewhere.subscribe(["t"]).resume(at).open().unwrap();
    assert_eq!(all(&mut resumed).await, ["Epoch", "1", "2", "3", "4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn the_extent_of_a_loss_is_told_to_the_log_until_it_takes_it() {
    let engine = long_log();
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let backend = Faulty::new(&engine).publish(move |inner, append| {
        let fails = append.publications.is_empty() && count.fetch_add(1, SeqCst) < 5;
        async move {
            if fails {
                return Err(Error::unavailable("failing over"));
            }
            inner.publish(append).await
        }
    });
    let broker = faulty(backend, config());
    let other = Bus::new(engine.node());
    let (mut stream, _) = open(&broker, &["t"]).await;
    let mut at = None;
    for n in 1..=60 {
        at = at.or(Some(put(&other, "t", n).await));
    }
    all(&mut stream).await;
    engine.rewind(30);
    put(&other, "t", "new31").await;
    assert_eq!(all(&mut stream).await, ["Epoch", "new31"]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(refused.load(SeqCst), 6, "told until it was taken, and then no more");

    let elsewhere = crate::kit::broker(&engine);
    let mut resumed = elsewhere.subscribe(["t"]).resume(Cursor(at.unwrap())).open().unwrap();
    assert_eq!(all(&mut resumed).await[0], "Epoch");
}

#[tokio::test(start_paused = true)]
async fn interest_that_began_behind_a_fork_is_complete_from_there_and_no_earlier() {
    let engine = long_log();
    let slow = Arc::new(AtomicUsize::new(0));
    let stage = Arc::clone(&slow);
    let backend = Faulty::new(&engine).head(move |inner, ()| {
        let slow = stage.compare_exchange(1, 2, SeqCst, SeqCst).is_ok();
        async move {
            if slow {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            inner.head().await
        }
    });
    let mut config = config();
    config.probe_interval = Duration::from_secs(3);
    let broker = faulty(backend, config);
    let other = Bus::new(engine.node());
    for n in 1..=60 {
        put(&other, "x", n).await;
    }
    let (_stream, at) = open(&broker, &["y"]).await;
    assert_eq!(at.0.seq, 60);
    engine.rewind(30);
    slow.store(1, SeqCst);
    let mut at = None;
    for n in 31..=45 {
        let position = put(&other, if n == 40 { "f" } else { "x" }, n).await;
        at = at.or((n == 35).then_some(position));
    }
    while slow.load(SeqCst) != 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The node has met the fork and asks how things are. Only now it hears of `f`.
    let mut first = broker.subscribe(["f"]).open().unwrap();
    assert!(all(&mut first).await.is_empty());
    let mut resumed = broker.subscribe(["f"]).resume(Cursor(at.unwrap())).open().unwrap();
    assert_eq!(all(&mut resumed).await, ["40"]);
}

#[tokio::test(start_paused = true)]
async fn interest_that_was_confirmed_before_a_fork_counts_behind_it() {
    let engine = long_log();
    let slow = Arc::new(AtomicUsize::new(0));
    let stage = Arc::clone(&slow);
    let backend = Faulty::new(&engine).subscribe(move |inner, filters| {
        let slow = stage.load(SeqCst) == 1;
        async move {
            let head = inner.subscribe(&filters).await;
            if slow {
                // The answer is on its way while the log forks and the node follows.
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            head
        }
    });
    let broker = faulty(backend, config());
    let other = Bus::new(engine.node());
    for n in 1..=60 {
        put(&other, "f", n).await;
    }
    let (_stream, _) = open(&broker, &["y"]).await;
    slow.store(1, SeqCst);
    let mut first = broker.subscribe(["f"]).open().unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(100), first.recv()).await.is_err());
    engine.rewind(30);
    let at = put(&other, "f", "new31").await;
    put(&other, "f", "new32").await;
    assert!(all(&mut first).await.is_empty());
    let reads = broker.status().counters.page_reads;
    let mut resumed = broker.subscribe(["f"]).resume(Cursor(at)).open().unwrap();
    assert_eq!(all(&mut resumed).await, ["new32"]);
    assert_eq!(broker.status().counters.page_reads, reads, "the ring has it");
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_fork_does_not_lead_back() {
    let engine = long_log();
    let slow = Arc::new(AtomicUsize::new(0));
    let stage = Arc::clone(&slow);
    let backend = Faulty::new(&engine).head(move |inner, ()| {
        let stage = Arc::clone(&stage);
        async move {
            let head = inner.head().await;
            if stage.compare_exchange(1, 2, SeqCst, SeqCst).is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            head
        }
    });
    let mut config = config();
    config.probe_interval = Duration::from_millis(200);
    let broker = faulty(backend, config);
    let other = Bus::new(engine.node());
    let (mut stream, _) = open(&broker, &["t"]).await;
    for n in 1..=10 {
        put(&other, "t", n).await;
    }
    all(&mut stream).await;
    slow.store(1, SeqCst);
    while slow.load(SeqCst) != 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // A probe has been answered, and the answer is on its way.
    engine.rewind(8);
    for n in 9..=12 {
        put(&other, "t", format_args!("new{n}")).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    for n in 13..=14 {
        put(&other, "t", format_args!("new{n}")).await;
    }
    assert_eq!(all(&mut stream).await, [vec!["Epoch".to_owned()], texts(9..=14, "new")].concat());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_when_the_log_has_lost_what_it_says_tells_of_the_loss() {
    let engine = long_log();
    let slow = Arc::new(AtomicUsize::new(0));
    let stage = Arc::clone(&slow);
    let backend = Faulty::new(&engine).publish(move |inner, append| {
        let slow = stage.load(SeqCst) == 1 && !append.publications.is_empty();
        async move {
            let published = inner.publish(append).await;
            if slow {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            published
        }
    });
    let cable = backend.cable();
    let mut config = config();
    config.publish_patience = Duration::from_secs(5);
    let broker = faulty(backend, config);
    let other = Bus::new(engine.node());
    let (mut stream, _) = open(&broker, &["t"]).await;
    let at = put(&other, "t", 1).await;
    assert_eq!(all(&mut stream).await, ["1"]);

    // Stored, pushed in vain, lost, and the node has followed before the answer arrives.
    slow.store(1, SeqCst);
    cable.lose_pushes(1);
    let (answer, ()) = tokio::join!(store(&broker, "t", "lost"), async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        engine.rewind(1);
        put(&other, "elsewhere", "new").await;
    });
    assert_eq!(answer.0.seq, 2);
    assert_eq!(all(&mut stream).await, ["Epoch"]);
    let elsewhere = crate::kit::broker(&engine);
    let mut resumed = elsewhere.subscribe(["t"]).resume(Cursor(at)).open().unwrap();
    assert_eq!(all(&mut resumed).await, ["Epoch"]);
}
