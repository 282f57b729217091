//! Snapshots: on connect and on a gap, with nothing lost between them and the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tavern_backend::{Bus, Keep, MemoryEngine, Retention};
use tavern_broker::{Broker, Delivery, Event, GapReason, SnapshotReason, SnapshotRequest};

use crate::kit::{broker, config, engine, gap, message, next, opened, reconnected, silence, store};

/// A broker whose application answers with `state <n>`, and publishes while it is asked.
fn with_snapshots(engine: &MemoryEngine, publisher: &Broker) -> (Broker, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let (count, publisher) = (Arc::clone(&asked), publisher.clone());
    let answer = move |request: SnapshotRequest| {
        let (n, publisher) = (count.fetch_add(1, Ordering::Relaxed), publisher.clone());
        async move {
            if request.topic.as_str() == "none" {
                return None;
            }
            store(&publisher, request.topic.as_str(), format!("during {n}")).await;
            let why = match request.reason {
                SnapshotReason::Connect => "connect".to_owned(),
                SnapshotReason::Gap(reason) => reason.as_str().to_owned(),
                _ => "?".to_owned(),
            };
            Some(Event::new(format!("state {n} {why}")).event("snapshot"))
        }
    };
    let broker = Broker::builder()
        .bus(Bus::new(engine.node()))
        .config(config())
        .snapshot(answer)
        .build()
        .unwrap();
    (broker, asked)
}

#[track_caller]
fn snapshot(delivery: Delivery) -> String {
    match delivery {
        Delivery::Snapshot(snapshot) => snapshot.data.as_str().to_owned(),
        other => panic!("a snapshot was expected, not {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_client_gets_the_state_first_and_then_what_was_published_meanwhile() {
    let engine = engine(Retention::default());
    let a = broker(&engine);
    store(&a, "t", "before").await;
    let (b, _) = with_snapshots(&engine, &a);
    let mut stream = b.subscribe(["t"]).open().unwrap();
    assert_eq!(snapshot(next(&mut stream).await), "state 0 connect");
    opened(&mut stream).await;
    assert_eq!(message(&mut stream).await.data().as_str(), "during 0");
    silence(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn a_resume_without_a_gap_asks_for_no_snapshot() {
    let engine = engine(Retention::default());
    let a = broker(&engine);
    let first = store(&a, "t", "1").await;
    store(&a, "t", "2").await;
    let (b, asked) = with_snapshots(&engine, &a);
    let mut stream = b.subscribe(["t"]).resume(first).open().unwrap();
    assert_eq!(message(&mut stream).await.data().as_str(), "2");
    assert!(reconnected(&mut stream).await.complete);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_bridged_by_a_snapshot_and_nothing_older_follows_it() {
    let engine = engine(Retention::default().with_default(Keep::new(2, Duration::ZERO)));
    let a = broker(&engine);
    let first = store(&a, "t", "1").await;
    for n in 2..=6 {
        store(&a, "t", n.to_string()).await;
    }
    let (b, _) = with_snapshots(&engine, &a);
    let mut stream = b.subscribe(["t"]).resume(first).open().unwrap();
    assert_eq!(gap(&mut stream).await.reason, GapReason::Trimmed);
    assert_eq!(snapshot(next(&mut stream).await), "state 0 trimmed");
    // 5 and 6 are in the state already; what was published while it was taken is not.
    let mut texts = Vec::new();
    loop {
        match next(&mut stream).await {
            Delivery::Message(message) => texts.push(message.data().as_str().to_owned()),
            Delivery::Reconnected(end) => break assert!(end.complete, "bridged"),
            other => panic!("{other:?}"),
        }
        if texts.len() == 1 && texts[0] == "during 0" {
            break;
        }
    }
    assert!(!texts.iter().any(|text| text == "5" || text == "6"), "{texts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_gap_without_a_snapshot_stays_open() {
    let engine = engine(Retention::default().with_default(Keep::new(2, Duration::ZERO)));
    let a = broker(&engine);
    let first = store(&a, "none", "1").await;
    for n in 2..=4 {
        store(&a, "none", n.to_string()).await;
    }
    let (b, asked) = with_snapshots(&engine, &a);
    let mut stream = b.subscribe(["none"]).resume(first).open().unwrap();
    assert_eq!(gap(&mut stream).await.reason, GapReason::Trimmed);
    for n in 3..=4 {
        assert_eq!(message(&mut stream).await.data().as_str(), n.to_string());
    }
    assert!(!reconnected(&mut stream).await.complete);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_gap_met_by_a_connected_client_is_bridged_too() {
    let engine = engine(Retention::default());
    let a = broker(&engine);
    let (b, _) = with_snapshots(&engine, &a);
    let mut stream = b.subscribe(["t"]).open().unwrap();
    assert_eq!(snapshot(next(&mut stream).await), "state 0 connect");
    opened(&mut stream).await;
    assert_eq!(message(&mut stream).await.data().as_str(), "during 0");
    for n in 1..=5 {
        store(&a, "t", n.to_string()).await;
        message(&mut stream).await;
    }
    // The log loses its tail; the next publish opens another epoch.
    engine.rewind(3);
    store(&a, "t", "anew").await;
    assert_eq!(gap(&mut stream).await.reason, GapReason::Epoch);
    assert_eq!(snapshot(next(&mut stream).await), "state 1 epoch");
    assert_eq!(message(&mut stream).await.data().as_str(), "during 1");
    silence(&mut stream).await;
}
