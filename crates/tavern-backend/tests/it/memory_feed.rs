//! What a node's feed brings, and what the cable does to it.

use tavern_backend::{
    Backend, Error, Keep, MemoryBackend, MemoryConfig, Published, ReadQuery, Retention,
};

use crate::fixture::{arrived, batch, filter, message, publish, store};

fn live_config() -> MemoryConfig {
    let retention = Retention::default().with_rule(filter("live/**"), Keep::live());
    MemoryConfig::default().with_retention(retention)
}

#[tokio::test]
async fn every_seq_is_an_entry_or_a_skip_on_every_node() {
    let (a, b) = MemoryBackend::pair();
    let (mut at_a, mut at_b) = (a.feed().unwrap(), b.feed().unwrap());
    a.subscribe(&[filter("x/*")]).await.unwrap();
    b.subscribe(&[filter("y")]).await.unwrap();
    let messages = [message("x/1", "1"), message("y", "2"), message("z", "3"), message("z", "4")];
    a.publish(batch(&a, &messages)).await.unwrap();
    b.publish(batch(&b, &[message("x/2", "5")])).await.unwrap();
    assert_eq!(arrived(&mut at_a).await, ["1 1", "skip 2-4", "5 5"]);
    assert_eq!(arrived(&mut at_b).await, ["skip 1-1", "2 2", "skip 3-4", "skip 5-5"]);
}

#[tokio::test]
async fn interest_counts_from_the_head_it_was_confirmed_at() {
    let (a, b) = MemoryBackend::pair();
    let mut feed = b.feed().unwrap();
    store(&a, message("t", "before")).await;
    let head = b.subscribe(&[filter("t"), filter("t")]).await.unwrap();
    assert_eq!(head.seq, 1);
    store(&a, message("t", "after")).await;
    b.unsubscribe(&[filter("t"), filter("never")]).await.unwrap();
    store(&a, message("t", "too late")).await;
    assert_eq!(arrived(&mut feed).await, ["skip 1-1", "2 after", "skip 3-3"]);
}

#[tokio::test]
async fn live_messages_go_to_other_nodes_that_listen_and_not_into_the_log() {
    let a = MemoryBackend::with_config(live_config());
    let (b, c) = (a.fork(), a.fork());
    let mut feeds = [a.feed().unwrap(), b.feed().unwrap(), c.feed().unwrap()];
    for node in [&a, &b] {
        node.subscribe(&[filter("live/*")]).await.unwrap();
    }
    assert_eq!(publish(&a, message("live/1", "hello")).await, Published::Live);
    assert_eq!(arrived(&mut feeds[0]).await, Vec::<String>::new(), "an echo");
    assert_eq!(arrived(&mut feeds[1]).await, ["live hello"]);
    assert_eq!(arrived(&mut feeds[2]).await, Vec::<String>::new(), "no interest");
    assert_eq!(a.head().await.unwrap().position.seq, 0);
}

#[tokio::test]
async fn what_does_not_fit_is_counted_and_the_rest_stays_in_order() {
    let a = MemoryBackend::with_config(MemoryConfig::default().with_feed_capacity(3));
    let mut feed = a.feed().unwrap();
    a.subscribe(&[filter("t")]).await.unwrap();
    for n in 1..=5 {
        store(&a, message("t", &n.to_string())).await;
    }
    assert_eq!(arrived(&mut feed).await, ["1 1", "2 2", "3 3"]);
    assert_eq!(a.cable().unpushed(), 2);
    store(&a, message("t", "6")).await;
    assert_eq!(arrived(&mut feed).await, ["6 6"]);
}

#[tokio::test]
async fn a_lost_push_is_found_by_counting() {
    let (a, b) = MemoryBackend::pair();
    let mut feed = b.feed().unwrap();
    b.subscribe(&[filter("t")]).await.unwrap();
    b.cable().lose_pushes(1);
    store(&a, message("t", "1")).await;
    store(&a, message("t", "2")).await;
    assert_eq!(arrived(&mut feed).await, ["2 2"]);
    assert_eq!(b.cable().unpushed(), 1);
}

#[tokio::test]
async fn the_feed_is_taken_once() {
    let a = MemoryBackend::new();
    let feed = a.feed().unwrap();
    assert!(matches!(a.feed(), Err(Error::FeedTaken)));
    drop(feed);
    assert!(matches!(a.feed(), Err(Error::FeedTaken)));
    store(&a, message("t", "nobody reads")).await;
}

#[tokio::test]
async fn a_cut_cable_fails_every_call_and_a_healed_one_restores_the_interest() {
    let (a, b) = MemoryBackend::pair();
    let (cable, mut feed, mut health) = (b.cable(), b.feed().unwrap(), b.health());
    b.subscribe(&[filter("t"), filter("u")]).await.unwrap();
    cable.cut();
    cable.cut();
    assert!(!health.get().up);
    let unavailable = |error: Error| assert!(error.is_transient(), "{error}");
    unavailable(b.publish(batch(&b, &[message("t", "0")])).await.unwrap_err());
    unavailable(b.subscribe(&[filter("v")]).await.unwrap_err());
    unavailable(b.read(ReadQuery::range(0, 9)).await.unwrap_err());
    unavailable(b.find(&message("t", "").lane(), &"x".try_into().unwrap()).await.unwrap_err());
    unavailable(b.head().await.unwrap_err());
    b.unsubscribe(&[filter("u")]).await.unwrap();

    store(&a, message("t", "1")).await;
    cable.heal();
    cable.heal();
    assert!(health.wait_up().await && health.get().connects == 2);
    for topic in ["t", "u", "v"] {
        store(&a, message(topic, topic)).await;
    }
    assert_eq!(arrived(&mut feed).await, ["lost", "restored 1", "2 t", "skip 3-3", "skip 4-4"]);
}

#[tokio::test]
async fn notices_reach_a_reader_that_slept_through_them() {
    let a = MemoryBackend::with_config(MemoryConfig::default().with_feed_capacity(2));
    let (cable, mut feed) = (a.cable(), a.feed().unwrap());
    a.subscribe(&[filter("t")]).await.unwrap();
    for n in 0..100 {
        store(&a, message("t", &n.to_string())).await;
        cable.cut();
        cable.heal();
    }
    let first = arrived(&mut feed).await;
    assert_eq!(first[..3], ["1 0", "lost", "restored 1"]);
    assert!(first.len() < 30, "the queue has a bound: {first:?}");
    // Whatever did not fit comes with the next thing that happens, in order, before it.
    store(&a, message("t", "on")).await;
    let rest = arrived(&mut feed).await;
    assert_eq!(rest[0], "lost");
    assert_eq!(rest[rest.len() - 2..], ["restored 100", "101 on"]);
    a.head().await.unwrap();
    assert_eq!(arrived(&mut feed).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_or_closed_node_ends_its_feed_and_leaves_the_others() {
    let (a, b) = MemoryBackend::pair();
    let c = a.fork();
    let (mut at_b, mut at_c) = (b.feed().unwrap(), c.feed().unwrap());
    drop(b);
    c.close().await.unwrap();
    c.close().await.unwrap();
    store(&a, message("t", "1")).await;
    assert_eq!(arrived(&mut at_b).await, ["end"]);
    assert_eq!(arrived(&mut at_c).await, ["end"]);
    assert!(matches!(c.head().await, Err(Error::Closed)));
    assert!(matches!(c.feed(), Err(Error::Closed)));
    assert!(c.health().get().closed && a.health().get().up);
}

#[test]
fn it_is_dropped_without_a_runtime() {
    let (a, b) = MemoryBackend::pair();
    let feed = a.feed().unwrap();
    drop((feed, a, b));
}
