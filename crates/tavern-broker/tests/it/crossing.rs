//! Streams on their way through history while the log forks under them.

use std::sync::atomic::{AtomicU64, Ordering};

use tavern_backend::{Backend, Bus, Cursor, MessageEnvelope, Published, Retention, Topic};
use tavern_broker::{Broker, Delivery, GapReason};

use crate::faulty::Faulty;
use crate::kit::{
    broker, config, engine, gap, message, next, open, opened, reconnected, silence, store,
};

/// A resume behind 20, of a log that had 60 when it was asked, and is cut back to 30 before the
/// first page is read.
async fn cut_under_a_resume(max_replay: Option<usize>) {
    let engine = engine(Retention::default());
    let other = broker(&engine);
    let mut at = None;
    for n in 1..=60 {
        let cursor = store(&other, "t", n.to_string()).await;
        at = at.or((n == 20).then_some(cursor));
    }
    let (reads, log, writer) = (AtomicU64::new(0), engine.clone(), other.clone());
    let faulty = Faulty::new(&engine).read(move |node, query| {
        let first = reads.fetch_add(1, Ordering::Relaxed) == 0;
        let (log, writer) = (log.clone(), writer.clone());
        async move {
            if first {
                log.rewind(30);
                store(&writer, "t", "31 anew").await;
            }
            node.read(query).await
        }
    });
    let mut config = config();
    config.max_replay = max_replay;
    let a = Broker::builder().bus(Bus::new(faulty)).config(config).build().unwrap();
    let mut stream = a.subscribe(["t"]).resume(at.unwrap()).open().unwrap();
    // Of what is lost beyond the fork nobody has told the log yet; but it was there.
    assert_eq!(gap(&mut stream).await.reason, GapReason::Epoch);
    for n in 21..=30 {
        assert_eq!(message(&mut stream).await.data().as_str(), n.to_string());
    }
    let end = reconnected(&mut stream).await;
    assert_eq!((end.delivered, end.complete, end.cursor.0.seq), (10, false, 30));
    assert_eq!(message(&mut stream).await.data().as_str(), "31 anew");
    silence(&mut stream).await;
    store(&other, "t", "32 anew").await;
    assert_eq!(message(&mut stream).await.data().as_str(), "32 anew");
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_waits_for_what_was_lost_ends_at_the_fork() {
    cut_under_a_resume(None).await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_with_a_maximum_ends_at_the_fork_too() {
    cut_under_a_resume(Some(1_000)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_again_of_a_tail_that_the_log_has_lost() {
    let engine = engine(Retention::default());
    let (a, other) = (broker(&engine), broker(&engine));
    let (mut connected, _) = open(&a, &["t"]).await;
    let mut ids = Vec::new();
    for n in 1..=60 {
        ids.push(store(&other, "t", n.to_string()).await);
        message(&mut connected).await;
    }
    // The node has the tail in its ring; who comes from here gets it into its page cache too.
    let mut all = a.subscribe(["t", "u"]).resume(ids[39]).open().unwrap();
    while !matches!(next(&mut all).await, Delivery::Reconnected(_)) {}
    engine.rewind(55);
    // Nothing has been appended: no other epoch says so.
    let mut back = a.subscribe(["t"]).resume(ids[59]).open().unwrap();
    let mut behind = a.subscribe(["t"]).resume(ids[52]).open().unwrap();
    let mut fresh = a.subscribe(["t"]).open().unwrap();
    assert_eq!(gap(&mut back).await.reason, GapReason::Epoch);
    assert_eq!(reconnected(&mut back).await.cursor.0.seq, 55);
    silence(&mut back).await;
    for n in 54..=55 {
        assert_eq!(message(&mut behind).await.data().as_str(), n.to_string());
    }
    assert_eq!(reconnected(&mut behind).await.cursor.0.seq, 55);
    silence(&mut behind).await;
    assert_eq!(opened(&mut fresh).await.0.seq, 55);
    silence(&mut fresh).await;
    // Who was to get the tail is told once it is known for good, but not who was told of just that
    // before; then all go on.
    store(&other, "t", "56 anew").await;
    for stream in [&mut connected, &mut behind, &mut fresh] {
        assert_eq!(gap(stream).await.reason, GapReason::Epoch);
    }
    for stream in [&mut connected, &mut back, &mut behind, &mut fresh] {
        assert_eq!(message(stream).await.data().as_str(), "56 anew");
        silence(stream).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_told_to_who_resumes_before_the_log_knows_of_it() {
    let engine = engine(Retention::default());
    // The node cannot tell the log what was lost: it stores nothing for it.
    let faulty = Faulty::new(&engine)
        .publish(|_, _| async { Err(tavern_backend::Error::unavailable("not today")) });
    let a = Broker::builder().bus(Bus::new(faulty)).config(config()).build().unwrap();
    // Neither does who publishes.
    let other = Bus::new(engine.node());
    let (mut connected, _) = open(&a, &["t"]).await;
    let mut ids = Vec::new();
    for n in 1..=60 {
        ids.push(put(&other, &n.to_string()).await);
        message(&mut connected).await;
    }
    engine.rewind(30);
    put(&other, "31 anew").await;
    assert_eq!(gap(&mut connected).await.reason, GapReason::Epoch);
    // It is shared by both epochs; what came behind it is lost.
    let mut back = a.subscribe(["t"]).resume(ids[28]).open().unwrap();
    assert_eq!(gap(&mut back).await.reason, GapReason::Epoch);
    assert_eq!(message(&mut back).await.data().as_str(), "30");
    assert_eq!(message(&mut back).await.data().as_str(), "31 anew");
    assert!(!reconnected(&mut back).await.complete);
}

/// Publishes to `t` past any broker.
async fn put(bus: &Bus, data: &str) -> Cursor {
    match bus.publish(MessageEnvelope::new(Topic::new("t").unwrap(), data)).await.unwrap() {
        Published::Stored(position) => Cursor(position),
        other => panic!("not stored but {other:?}"),
    }
}
