//! The contract for cross-process fan-out, row by row as its first implementation tested it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tavern_backend::{
    BackendStats, Bus, Error, MemoryBackend, MessageEnvelope, Received, Subscription,
};

use crate::fixture::{message, nothing, received, scoped, topic};

fn linked(nodes: usize) -> Vec<Bus> {
    let first = MemoryBackend::new();
    let others: Vec<_> = (1..nodes).map(|_| first.fork()).collect();
    std::iter::once(first).chain(others).map(Bus::new).collect()
}

async fn subscribe(bus: &Bus, to: &str) -> Subscription {
    bus.subscribe(to).await.unwrap()
}

#[test]
fn an_envelope_survives_json() {
    let envelope = scoped("orders", "user:42", r#"{"id":7}"#);
    let json = envelope.to_json();
    assert_eq!(json, r#"{"topic":"orders","data":"{\"id\":7}","scope":"user:42"}"#);
    assert_eq!(MessageEnvelope::from_json(json.as_bytes()).unwrap(), envelope);
}

#[test]
fn an_absent_scope_is_absent_from_json() {
    assert_eq!(message("orders", "x").to_json(), r#"{"topic":"orders","data":"x"}"#);
}

#[tokio::test]
async fn a_publish_reaches_the_other_node() {
    let nodes = linked(2);
    let mut orders = subscribe(&nodes[1], "orders").await;
    nodes[0].publish(message("other", "not this")).await.unwrap();
    nodes[0].publish(message("orders", "hello")).await.unwrap();
    assert_eq!(received(&mut orders).await, Some(message("orders", "hello")));
}

#[tokio::test]
async fn a_publish_does_not_come_back() {
    let nodes = linked(2);
    let mut mine = subscribe(&nodes[0], "orders").await;
    nodes[0].publish(message("orders", "mine")).await.unwrap();
    // The next message of another node proves that the feed was read past it.
    nodes[1].publish(message("orders", "theirs")).await.unwrap();
    assert_eq!(received(&mut mine).await, Some(message("orders", "theirs")));
    nothing(&mut mine).await;
}

#[tokio::test]
async fn both_directions_work() {
    let nodes = linked(2);
    let mut at = [subscribe(&nodes[0], "orders").await, subscribe(&nodes[1], "orders").await];
    nodes[0].publish(message("orders", "from 0")).await.unwrap();
    nodes[1].publish(message("orders", "from 1")).await.unwrap();
    assert_eq!(received(&mut at[1]).await, Some(message("orders", "from 0")));
    assert_eq!(received(&mut at[0]).await, Some(message("orders", "from 1")));
}

#[tokio::test]
async fn unsubscribing_ends_the_receiver() {
    let nodes = linked(2);
    let mut orders = subscribe(&nodes[1], "orders").await;
    let mut news = subscribe(&nodes[1], "news").await;
    nodes[1].unsubscribe(&topic("orders")).await.unwrap();
    nodes[1].unsubscribe(&topic("never")).await.unwrap();
    nodes[0].publish(message("orders", "too late")).await.unwrap();
    nodes[0].publish(message("news", "hello")).await.unwrap();
    assert_eq!(received(&mut orders).await, None);
    assert_eq!(received(&mut news).await, Some(message("news", "hello")));
}

#[tokio::test]
async fn closing_ends_receivers_and_every_verb_says_closed_afterwards() {
    let nodes = linked(2);
    let mut orders = subscribe(&nodes[1], "orders").await;
    nodes[1].close().await.unwrap();
    assert_eq!(received(&mut orders).await, None);
    let closed = |error| assert!(matches!(error, Error::Closed), "{error}");
    closed(nodes[1].publish(message("orders", "x")).await.unwrap_err());
    closed(nodes[1].subscribe("orders").await.unwrap_err());
    closed(nodes[1].unsubscribe(&topic("orders")).await.unwrap_err());
    nodes[1].close().await.unwrap();
    nodes[0].publish(message("orders", "the other lives")).await.unwrap();
    nodes[0].close().await.unwrap();
    closed(nodes[0].unsubscribe(&topic("never subscribed to")).await.unwrap_err());
}

#[tokio::test]
async fn a_second_subscription_gets_everything_too_and_outlives_the_first() {
    let nodes = linked(2);
    let mut first = subscribe(&nodes[1], "orders").await;
    let mut second = subscribe(&nodes[1], "orders").await;
    nodes[0].publish(message("orders", "1")).await.unwrap();
    assert_eq!(received(&mut first).await, Some(message("orders", "1")));
    assert_eq!(received(&mut second).await, Some(message("orders", "1")));
    drop(first);
    nodes[0].publish(message("orders", "2")).await.unwrap();
    assert_eq!(received(&mut second).await, Some(message("orders", "2")));
    nothing(&mut second).await;
}

#[tokio::test]
async fn everything_in_an_envelope_survives() {
    let nodes = linked(2);
    let mut orders = subscribe(&nodes[1], "orders").await;
    let envelope = MessageEnvelope {
        id: Some("evt-1".try_into().unwrap()),
        event: Some("created".try_into().unwrap()),
        ttl: Some(Duration::from_secs(5)),
        ..scoped("orders", "user:42", "hello")
    };
    nodes[0].publish(envelope.clone()).await.unwrap();
    assert_eq!(received(&mut orders).await, Some(envelope));
}

#[tokio::test]
async fn every_other_node_gets_it() {
    let nodes = linked(3);
    let mut at = [subscribe(&nodes[1], "orders").await, subscribe(&nodes[2], "orders").await];
    nodes[0].publish(message("orders", "hello")).await.unwrap();
    for subscription in &mut at {
        assert_eq!(received(subscription).await, Some(message("orders", "hello")));
    }
}

#[tokio::test]
async fn health_follows_the_cable() {
    let backend = MemoryBackend::new();
    let cable = backend.cable();
    let bus = Bus::new(backend);
    assert!(bus.healthy());
    cable.cut();
    assert!(!bus.healthy() && !bus.stats().connected);
    cable.heal();
    assert!(bus.healthy() && bus.stats().connected);
}

#[tokio::test]
async fn a_closed_bus_is_unhealthy_for_good() {
    let backend = MemoryBackend::new();
    let cable = backend.cable();
    let bus = Bus::new(backend);
    bus.close().await.unwrap();
    cable.cut();
    cable.heal();
    assert!(!bus.healthy());
}

#[tokio::test]
async fn on_reconnect_runs_once_for_each_rise() {
    let backend = MemoryBackend::new();
    let cable = backend.cable();
    let bus = Bus::new(backend);
    let calls = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&calls);
    bus.on_reconnect(move || _ = counter.fetch_add(1, Ordering::Relaxed));
    let calls = || calls.load(Ordering::Relaxed);
    cable.heal();
    cable.cut();
    assert_eq!(calls(), 0);
    cable.heal();
    cable.heal();
    assert_eq!(calls(), 1);
    cable.cut();
    cable.heal();
    assert_eq!(calls(), 2);
}

#[tokio::test]
async fn counters_count_what_was_sent_received_and_dropped() {
    let nodes = linked(2);
    let mut orders = subscribe(&nodes[1], "orders").await;
    let stats = |sent, received| BackendStats {
        connected: true,
        messages_sent: sent,
        messages_received: received,
    };
    assert_eq!((nodes[0].stats(), nodes[1].stats()), (stats(0, 0), stats(0, 0)));
    for n in 0..1030 {
        nodes[0].publish(message("orders", &n.to_string())).await.unwrap();
        nodes[0].publish(message("nobody asked", "")).await.unwrap();
        // Nobody takes from the subscription, but the feed is read.
        tokio::task::yield_now().await;
    }
    for n in 0..1024 {
        assert_eq!(received(&mut orders).await, Some(message("orders", &n.to_string())));
    }
    let dropped = orders.recv().await;
    let six = tavern_backend::Missed::Overflow { messages: 6 };
    assert_eq!(dropped, Some(Received::Gap(six)));
    assert_eq!((nodes[0].stats(), nodes[1].stats()), (stats(2060, 0), stats(0, 1030)));
    nodes[1].publish(message("orders", "mine")).await.unwrap();
    nodes[0].publish(message("orders", "room again")).await.unwrap();
    assert_eq!(received(&mut orders).await, Some(message("orders", "room again")));
    // Its own retained messages arrive on its feed as well.
    assert_eq!(nodes[1].stats(), stats(1, 1032));
}
