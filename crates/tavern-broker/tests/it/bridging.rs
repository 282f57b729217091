//! A gap that a connected client meets, with a snapshot to bridge it: told once, and behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tavern_backend::{Bus, Cursor, Error, Keep, MemoryEngine, Retention, TopicFilter};
use tavern_broker::{Broker, Delivery, Event, GapReason, Subscription};

use crate::faulty::Faulty;
use crate::kit::{broker, config, engine, gap, message, next, opened, silence, store};

/// A broker whose application has a state of `t`, and of nothing else.
fn with_state(bus: Bus) -> (Broker, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let mut config = config();
    config.linger = Duration::from_secs(60);
    let broker = Broker::builder()
        .bus(bus)
        .config(config)
        .snapshot(move |request| {
            count.fetch_add(1, Ordering::Relaxed);
            async move { (request.topic.as_str() == "t").then(|| Event::new("state")) }
        })
        .build()
        .unwrap();
    (broker, asked)
}

/// The clock is paused: it moves once nothing else has anything to do.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// A stream of `t` that has its state, and the entry `1`.
async fn opened_with_one(broker: &Broker, other: &Broker) -> Subscription {
    let mut stream = broker.subscribe(["t"]).open().unwrap();
    assert!(matches!(next(&mut stream).await, Delivery::Snapshot(_)));
    opened(&mut stream).await;
    store(other, "t", "1").await;
    assert_eq!(message(&mut stream).await.data().as_str(), "1");
    stream
}

/// The gap, the state that bridges it, and nothing more than what is published next.
async fn one_gap_bridged(stream: &mut Subscription, reason: GapReason, other: &Broker) {
    assert_eq!(gap(stream).await.reason, reason);
    assert!(matches!(next(stream).await, Delivery::Snapshot(_)));
    silence(stream).await;
    store(other, "t", "next").await;
    assert_eq!(message(stream).await.data().as_str(), "next");
    silence(stream).await;
}

fn keep(entries: u32) -> Retention {
    Retention::default().with_default(Keep::new(entries, Duration::ZERO))
}

fn node(engine: &MemoryEngine) -> (Bus, tavern_backend::Cable) {
    let node = engine.node();
    let cable = node.cable();
    (Bus::new(node), cable)
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_before_it_was_read_is_bridged_once() {
    let engine = engine(keep(2));
    let other = broker(&engine);
    let (bus, cable) = node(&engine);
    let (a, asked) = with_state(bus);
    let mut stream = opened_with_one(&a, &other).await;
    // The gap lies above the client's own last message, by more than the client has looked.
    for _ in 0..5 {
        store(&other, "u", "another topic's").await;
    }
    a_moment().await;
    cable.lose_pushes(5);
    for n in 2..=6 {
        store(&other, "t", n.to_string()).await;
    }
    a_moment().await;
    one_gap_bridged(&mut stream, GapReason::Trimmed, &other).await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_bridged_once() {
    let engine = engine(Retention::default());
    let other = broker(&engine);
    let faulty = Faulty::new(&engine).read(|node, query| async move {
        let mut page = tavern_backend::Backend::read(&*node, query).await?;
        let (bad, good) = std::mem::take(&mut page.entries)
            .into_iter()
            .partition(|entry| entry.envelope().data.as_str() == "bad");
        page.entries = good;
        let bad: Vec<Arc<tavern_backend::Entry>> = bad;
        page.undecodable.extend(bad.iter().map(|bad| (bad.position.seq, Some(bad.lane()))));
        Ok(page)
    });
    let cable = faulty.cable();
    let (a, asked) = with_state(Bus::new(faulty));
    let mut stream = opened_with_one(&a, &other).await;
    cable.lose_pushes(1);
    store(&other, "t", "bad").await;
    one_gap_bridged(&mut stream, GapReason::Format, &other).await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_bridged_once() {
    let engine = engine(Retention::default());
    let other = broker(&engine);
    let faulty = Faulty::new(&engine).read(|_, _| async { Err(Error::unavailable("not today")) });
    let cable = faulty.cable();
    let (a, asked) = with_state(Bus::new(faulty));
    let mut stream = opened_with_one(&a, &other).await;
    cable.lose_pushes(1);
    store(&other, "t", "2").await;
    one_gap_bridged(&mut stream, GapReason::Outage, &other).await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn live_messages_come_once_on_both_sides_of_a_bridge() {
    let live: TopicFilter = "live".try_into().unwrap();
    let engine = engine(keep(2).with_rule(live, Keep::live()));
    let other = broker(&engine);
    let (bus, cable) = node(&engine);
    let (a, _) = with_state(bus);
    let _interested = a.subscribe(["t", "live"]).open().unwrap();
    let _first = opened_with_one(&a, &other).await;
    let at = Cursor(engine.head());
    store(&other, "t", "2").await;
    // This one is still away when its node meets the gap, and reads the marker behind the messages.
    let mut second = a.subscribe(["t", "live"]).resume(at).open().unwrap();
    cable.lose_pushes(5);
    for n in 3..=7 {
        store(&other, "t", n.to_string()).await;
    }
    a_moment().await;
    for n in 1..=2 {
        a.publish("live", format!("live {n}")).await.unwrap();
    }
    let mut got = Vec::new();
    while let Ok(Some(delivery)) =
        tokio::time::timeout(Duration::from_millis(300), second.recv()).await
    {
        if let Delivery::Message(message) = delivery
            && message.topic().as_str() == "live"
        {
            got.push(message.data().as_str().to_owned());
        }
    }
    assert_eq!(got, ["live 1", "live 2"]);
}
