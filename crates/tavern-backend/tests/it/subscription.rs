//! Subscriptions to single topics: what is missing is said, and interest ends with the last.

use std::time::Duration;

use futures_util::StreamExt as _;
use tavern_backend::{
    Backend, Bus, Cable, Error, Keep, MemoryBackend, MemoryConfig, Missed, Received, Retention,
    Subscription,
};
use tokio::time::timeout;

use crate::fixture::{eventually, filter, message, nothing, publication, received, store, topic};
use crate::probe::Probe;

/// A publisher, and a bus with its cable.
fn linked() -> (MemoryBackend, Bus, Cable) {
    let (a, b) = MemoryBackend::pair();
    let cable = b.cable();
    (a, Bus::new(b), cable)
}

async fn gap(subscription: &mut Subscription) -> Missed {
    match timeout(Duration::from_secs(10), subscription.recv()).await.unwrap() {
        Some(Received::Gap(missed)) => missed,
        other => panic!("unexpected: {other:?}"),
    }
}

#[tokio::test]
async fn a_hole_is_said_in_its_place_to_everybody() {
    let (a, b, cable) = linked();
    let mut t = b.subscribe("t").await.unwrap();
    let mut u = b.subscribe("u").await.unwrap();
    store(&a, message("t", "1")).await;
    cable.lose_pushes(1);
    store(&a, message("t", "2")).await;
    store(&a, message("t", "3")).await;
    assert_eq!(received(&mut t).await, Some(message("t", "1")));
    assert_eq!(gap(&mut t).await, Missed::Hole);
    assert_eq!(received(&mut t).await, Some(message("t", "3")));
    assert_eq!(gap(&mut u).await, Missed::Hole);
    nothing(&mut u).await;
}

#[tokio::test]
async fn a_hole_right_behind_the_confirmed_interest_is_said_too() {
    let a = MemoryBackend::new();
    for n in 1..=3 {
        store(&a, message("t", &n.to_string())).await;
    }
    let b = a.fork();
    let (cable, b) = (b.cable(), Bus::new(b));
    let mut t = b.subscribe("t").await.unwrap();
    cable.lose_pushes(1);
    store(&a, message("t", "4")).await;
    store(&a, message("u", "5")).await;
    assert_eq!(gap(&mut t).await, Missed::Hole);
    nothing(&mut t).await;
}

#[tokio::test]
async fn an_outage_is_said_once_when_it_is_over() {
    let (a, b, cable) = linked();
    let mut t = b.subscribe("t").await.unwrap();
    store(&a, message("t", "before")).await;
    cable.cut();
    store(&a, message("t", "during")).await;
    assert_eq!(received(&mut t).await, Some(message("t", "before")));
    nothing(&mut t).await;
    cable.heal();
    store(&a, message("t", "after")).await;
    assert_eq!(gap(&mut t).await, Missed::LinkLost);
    assert_eq!(received(&mut t).await, Some(message("t", "after")));
    nothing(&mut t).await;
}

#[tokio::test]
async fn a_clean_change_of_epoch_is_silent_and_a_rewind_is_a_gap() {
    let (a, b, _) = linked();
    let mut t = b.subscribe("t").await.unwrap();
    store(&a, message("t", "1")).await;
    a.engine().rewind(1);
    store(&a, message("t", "2")).await;
    a.engine().rewind(1);
    store(&a, message("t", "another 2")).await;
    assert_eq!(received(&mut t).await, Some(message("t", "1")));
    assert_eq!(received(&mut t).await, Some(message("t", "2")));
    assert_eq!(gap(&mut t).await, Missed::Hole);
    assert_eq!(received(&mut t).await, Some(message("t", "another 2")));
}

#[tokio::test]
async fn live_messages_arrive_too() {
    let retention = Retention::default().with_rule(filter("live"), Keep::live());
    let a = MemoryBackend::with_config(MemoryConfig::default().with_retention(retention));
    let b = Bus::new(a.fork());
    let mut live = b.subscribe("live").await.unwrap();
    Bus::new(a).publish(message("live", "now")).await.unwrap();
    assert_eq!(received(&mut live).await, Some(message("live", "now")));
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_after_its_ttl_is_not_delivered() {
    let (a, b, _) = linked();
    let mut t = b.subscribe("t").await.unwrap();
    let mut late = publication(&a, message("t", "late"));
    late.envelope.ttl = Some(Duration::from_secs(5));
    tokio::time::advance(Duration::from_secs(5)).await;
    a.publish(tavern_backend::Append { known: None, publications: vec![late] }).await.unwrap();
    store(&a, message("t", "next")).await;
    assert_eq!(received(&mut t).await, Some(message("t", "next")));
}

#[tokio::test]
async fn it_is_a_stream_as_well() {
    let (a, b, _) = linked();
    let t = b.subscribe("t").await.unwrap();
    store(&a, message("t", "1")).await;
    let first: Vec<_> = t.take(1).collect().await;
    assert_eq!(first, [Received::Message(message("t", "1"))]);
}

#[tokio::test]
async fn what_waits_can_be_taken_after_the_end() {
    let (a, b, _) = linked();
    let mut t = b.subscribe("t").await.unwrap();
    let mut other = b.subscribe("t").await.unwrap();
    store(&a, message("t", "1")).await;
    assert_eq!(received(&mut other).await, Some(message("t", "1")));
    b.unsubscribe(&topic("t")).await.unwrap();
    assert_eq!(received(&mut t).await, Some(message("t", "1")));
    assert_eq!(received(&mut t).await, None);
    assert_eq!(received(&mut t).await, None);
}

#[tokio::test]
async fn the_last_to_leave_ends_the_interest() {
    let (a, b) = MemoryBackend::pair();
    let (probe, hand) = Probe::new(b);
    let bus = Bus::new(probe);
    let first = bus.subscribe("t").await.unwrap();
    let second = bus.subscribe("t").await.unwrap();
    drop(first);
    store(&a, message("t", "1")).await;
    drop(second);
    eventually(|| hand.calls() == "+t +t -t").await;
}

#[tokio::test]
async fn who_comes_while_the_last_one_leaves_keeps_the_interest() {
    let (a, b) = MemoryBackend::pair();
    let (probe, hand) = Probe::new(b);
    let bus = Bus::new(probe);
    let first = bus.subscribe("t").await.unwrap();
    hand.allow(0);
    drop(first);
    // The withdrawal is on its way when the next one comes.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let (second, ()) = tokio::join!(bus.subscribe("t"), async { hand.allow(9) });
    let mut second = second.unwrap();
    assert_eq!(hand.calls(), "+t -t +t");
    store(&a, message("t", "1")).await;
    assert_eq!(received(&mut second).await, Some(message("t", "1")));
    // And the other way round: nothing is withdrawn that was asked for again.
    hand.allow(9);
    drop(second);
    let mut third = bus.subscribe("t").await.unwrap();
    nothing(&mut third).await;
    assert_eq!(hand.calls(), "+t -t +t +t");
}

#[tokio::test]
async fn a_subscription_that_is_not_waited_for_leaves_no_interest() {
    let (probe, hand) = Probe::new(MemoryBackend::new());
    let bus = Bus::new(probe);
    hand.allow(0);
    timeout(Duration::from_millis(1), bus.subscribe("t")).await.unwrap_err();
    hand.allow(9);
    eventually(|| hand.calls() == "-t").await;
}

#[tokio::test(start_paused = true)]
async fn interest_that_cannot_be_withdrawn_is_withdrawn_later() {
    let (probe, hand) = Probe::new(MemoryBackend::new());
    let bus = Bus::new(probe);
    let t = bus.subscribe("t").await.unwrap();
    hand.allow(0);
    drop(t);
    // Dropped half-way as well: the note stays.
    timeout(Duration::from_millis(1), bus.unsubscribe(&topic("t"))).await.unwrap_err();
    hand.allow(9);
    eventually(|| hand.calls() == "+t -t").await;
}

#[tokio::test]
async fn a_node_has_one_reader() {
    let bus = Bus::memory();
    let feed = bus.feed().unwrap();
    assert!(matches!(bus.subscribe("t").await, Err(Error::FeedTaken)));
    drop(feed);
    let bus = Bus::memory();
    bus.subscribe("t").await.unwrap();
    assert!(matches!(bus.feed(), Err(Error::FeedTaken)));
}

#[tokio::test]
async fn what_is_no_topic_is_refused() {
    let error = Bus::memory().subscribe("t/*").await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_subscription_that_fails_can_be_tried_again() {
    let (a, b, cable) = linked();
    cable.cut();
    assert!(b.subscribe("t").await.unwrap_err().is_transient());
    cable.heal();
    let mut t = b.subscribe("t").await.unwrap();
    store(&a, message("t", "1")).await;
    loop {
        // The outage may be said first.
        match t.recv().await.unwrap() {
            Received::Gap(_) => {}
            Received::Message(envelope) => break assert_eq!(envelope, message("t", "1")),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn it_is_dropped_without_a_runtime_and_ends_with_its_bus() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (bus, first, mut second) = runtime.block_on(async {
        let bus = Bus::memory();
        let first = bus.subscribe("t").await.unwrap();
        let second = bus.subscribe("t").await.unwrap();
        (bus, first, second)
    });
    drop(first);
    drop(bus);
    assert_eq!(runtime.block_on(received(&mut second)), None);
    drop(runtime);
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_races_of_subscribe_and_publish_lose_nothing() {
    let (a, b, _) = linked();
    let publisher = Bus::new(a);
    for n in 0..10_000 {
        let to = format!("t/{}", n % 7);
        let mut subscription = b.subscribe(&to).await.unwrap();
        publisher.publish(message(&to, &n.to_string())).await.unwrap();
        assert_eq!(received(&mut subscription).await, Some(message(&to, &n.to_string())));
    }
}
