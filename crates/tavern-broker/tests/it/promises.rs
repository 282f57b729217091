//! The promises to a connected client, with two nodes on one log.

use std::time::Duration;

use tavern_backend::{Bus, Keep, Retention, TopicFilter};
use tavern_broker::{Broker, BrokerConfig, Delivery, Event, GapReason, Outcome};

use crate::kit::{
    broker, cabled, config, engine, gap, message, next, open, opened, reconnected, silence, store,
};

fn live(pattern: &str) -> Retention {
    Retention::default().with_rule(TopicFilter::new(pattern).unwrap(), Keep::live())
}

#[tokio::test(start_paused = true)]
async fn what_is_published_here_arrives_there_and_here_exactly_once() {
    let engine = engine(Retention::default());
    let (a, b) = (broker(&engine), broker(&engine));
    let (mut here, _) = open(&a, &["orders"]).await;
    let (mut there, _) = open(&b, &["orders"]).await;
    store(&a, "orders", Event::new("one").event("created")).await;
    for stream in [&mut here, &mut there] {
        let message = message(stream).await;
        assert_eq!(message.data().as_str(), "one");
        assert_eq!(message.event().unwrap().as_str(), "created");
        silence(stream).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wildcard_hears_another_node_without_an_exact_subscriber_beside_it() {
    let engine = engine(Retention::default());
    let (a, b) = (broker(&engine), broker(&engine));
    let (mut wild, _) = open(&b, &["orders/**"]).await;
    store(&a, "news", "no").await;
    store(&a, "orders/7/paid", "yes").await;
    let message = message(&mut wild).await;
    assert_eq!((message.topic().as_str(), message.data().as_str()), ("orders/7/paid", "yes"));
}

#[tokio::test(start_paused = true)]
async fn a_scope_is_a_wall() {
    let engine = engine(Retention::default());
    let (a, b) = (broker(&engine), broker(&engine));
    for pattern in ["inbox", "**"] {
        let mut of_42 = b.subscribe([pattern]).scope("user:42").open().unwrap();
        let mut of_99 = b.subscribe([pattern]).scope("user:99").open().unwrap();
        let (mut unscoped, _) = open(&b, &[pattern]).await;
        opened(&mut of_42).await;
        opened(&mut of_99).await;
        store(&a, "inbox", Event::new("secret").scope("user:42")).await;
        store(&a, "inbox", "public").await;
        assert_eq!(message(&mut of_42).await.data().as_str(), "secret");
        assert_eq!(message(&mut unscoped).await.data().as_str(), "public");
        silence(&mut of_42).await;
        silence(&mut of_99).await;
        silence(&mut unscoped).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_scope_is_an_error_and_never_a_broadcast() {
    let broker = broker(&engine(Retention::default()));
    assert!(broker.subscribe(["a"]).scope("").open().is_err());
    assert!(broker.publish("a", Event::new("x").scope("")).await.is_err());
    assert!(broker.subscribe([] as [&str; 0]).open().is_err());
    assert!(broker.subscribe(["a//b"]).open().is_err());
    assert!(broker.publish("a/*", "x").await.is_err());
    assert!(broker.publish("$tavern/x", "x").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn live_topics_reach_local_subscribers_although_the_backend_is_away() {
    let engine = engine(live("ticks/**"));
    let ((a, cable), b) = (cabled(&engine, config()), broker(&engine));
    let (mut here, _) = open(&a, &["ticks/eur"]).await;
    let (mut there, _) = open(&b, &["ticks/*"]).await;
    assert!(matches!(a.publish("ticks/eur", "1").await.unwrap(), Outcome::Live));
    assert_eq!(message(&mut here).await.data().as_str(), "1");
    let remote = message(&mut there).await;
    assert_eq!((remote.data().as_str(), remote.cursor()), ("1", None));
    silence(&mut here).await;

    cable.cut();
    assert!(matches!(next(&mut here).await, Delivery::Degraded(_)));
    assert!(matches!(a.publish("ticks/eur", "2").await.unwrap(), Outcome::Live));
    assert_eq!(message(&mut here).await.data().as_str(), "2");
    // Also for who comes now: the stream opens without the log.
    let mut late = a.subscribe(["ticks/eur"]).open().unwrap();
    assert!(matches!(next(&mut late).await, Delivery::Degraded(_)));
    assert!(matches!(a.publish("ticks/eur", "3").await.unwrap(), Outcome::Live));
    assert_eq!(message(&mut late).await.data().as_str(), "3");
    assert_eq!(message(&mut here).await.data().as_str(), "3");
    silence(&mut there).await;

    cable.heal();
    assert!(matches!(next(&mut here).await, Delivery::Recovered(_)));
    // Its interest may be confirmed before or after this node knows that the link is back.
    match next(&mut late).await {
        Delivery::Recovered(_) => drop(opened(&mut late).await),
        Delivery::Cursor(_) => assert!(matches!(next(&mut late).await, Delivery::Recovered(_))),
        other => panic!("{other:?}"),
    }
    a.publish("ticks/eur", "4").await.unwrap();
    for stream in [&mut here, &mut late, &mut there] {
        assert_eq!(message(stream).await.data().as_str(), "4");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_past_its_ttl_is_not_delivered() {
    let engine = engine(Retention::default());
    let (a, b) = (broker(&engine), broker(&engine));
    let (stream, start) = open(&b, &["t"]).await;
    drop(stream);
    store(&a, "t", Event::new("short").ttl(Duration::from_secs(5))).await;
    store(&a, "t", Event::new("long").ttl(Duration::from_secs(60))).await;
    tokio::time::advance(Duration::from_secs(6)).await;
    let mut stream = b.subscribe(["t"]).resume(start).open().unwrap();
    assert_eq!(message(&mut stream).await.data().as_str(), "long");
    let end = reconnected(&mut stream).await;
    assert_eq!((end.delivered, end.complete), (1, true), "an expired entry is no gap");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_that_falls_off_the_ring_goes_on_from_history() {
    let engine = engine(Retention::default().with_default(Keep::new(10_000, Duration::ZERO)));
    let mut small = config();
    small.ring_bytes = 20_000;
    let b = Broker::builder().bus(Bus::new(engine.node())).config(small).build().unwrap();
    let a = broker(&engine);
    let (mut slow, _) = open(&b, &["t"]).await;
    let (mut wild, _) = open(&b, &["**"]).await;
    for n in 0..1_000 {
        store(&a, "t", n.to_string()).await;
    }
    for stream in [&mut slow, &mut wild] {
        for n in 0..1_000 {
            assert_eq!(message(stream).await.data().as_str(), n.to_string());
        }
    }
    assert!(b.status().counters.fell_off >= 2, "{:?}", b.status().counters);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_whom_history_cannot_help_is_told() {
    let engine = engine(Retention::default().with_default(Keep::new(10, Duration::ZERO)));
    let mut small = config();
    small.ring_bytes = 20_000;
    let b = Broker::builder().bus(Bus::new(engine.node())).config(small).build().unwrap();
    let a = broker(&engine);
    let (mut slow, start) = open(&b, &["t"]).await;
    for n in 0..1_000 {
        store(&a, "t", n.to_string()).await;
    }
    let gap = gap(&mut slow).await;
    assert_eq!((gap.reason, gap.topics), (GapReason::Slow, vec!["t".to_owned()]));
    assert_eq!(gap.last_event_id, start.to_string());
    for n in 990..1_000 {
        assert_eq!(message(&mut slow).await.data().as_str(), n.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn close_ends_streams_with_a_hint_and_refuses_what_comes_after() {
    let engine = engine(Retention::default());
    let broker = broker(&engine);
    let (mut stream, _) = open(&broker, &["t"]).await;
    store(&broker, "t", "last").await;
    broker.close().await;
    assert_eq!(message(&mut stream).await.data().as_str(), "last");
    let Delivery::Closing(retry) = next(&mut stream).await else { panic!("the end") };
    assert!(retry <= BrokerConfig::default().close_spread);
    assert!(stream.recv().await.is_none());
    assert!(broker.publish("t", "late").await.is_err());
    assert!(broker.subscribe(["t"]).open().is_err());
    broker.close().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_streams() {
    let engine = engine(Retention::default());
    let broker = broker(&engine);
    let (mut stream, _) = open(&broker, &["t"]).await;
    drop(broker);
    assert!(matches!(next(&mut stream).await, Delivery::Closing(_)));
    assert!(stream.recv().await.is_none());
}
