use std::time::Duration;

use tavern_backend::Cursor;
use tokio::time::timeout;

use super::Held;
use crate::{Broker, Delivery, Event, Outcome, Subscription};

const PATIENCE: Duration = Duration::from_secs(10);

async fn opened(subscription: &mut Subscription) -> Cursor {
    match timeout(PATIENCE, subscription.recv()).await.unwrap() {
        Some(Delivery::Cursor(cursor)) => cursor,
        other => panic!("a cursor was expected, not {other:?}"),
    }
}

async fn publish(broker: &Broker, event: impl Into<Event> + Send) -> Cursor {
    match broker.publish("news", event).await.unwrap() {
        Outcome::Stored(cursor) => cursor,
        other => panic!("stored was expected, not {other:?}"),
    }
}

/// The next `n` messages, and how many of them came in one piece with others.
async fn take(subscription: &mut Subscription, n: usize) -> (Vec<String>, usize) {
    let (mut got, mut shared) = (Vec::new(), 0);
    while got.len() < n {
        let deliveries = timeout(PATIENCE, subscription.recv_shared(100)).await.unwrap();
        assert!(!deliveries.is_empty(), "it ended after {got:?}");
        for delivery in &deliveries {
            let Delivery::Message(message) = delivery else { continue };
            got.push(message.data().as_str().to_owned());
        }
        if matches!(deliveries.0, Held::Shared(_)) {
            shared += deliveries.len();
        }
    }
    (got, shared)
}

#[tokio::test]
async fn what_is_shared_is_what_each_would_have_got_alone() {
    let broker = Broker::builder().build().unwrap();
    let mut alone = broker.subscribe(["news"]).open().unwrap();
    let mut first = broker.subscribe(["news"]).open().unwrap();
    let mut second = broker.subscribe(["news"]).open().unwrap();
    for subscription in [&mut alone, &mut first, &mut second] {
        opened(subscription).await;
    }
    let mut wanted = Vec::new();
    let mut last = None;
    for n in 0..20 {
        let event = Event::new(n.to_string());
        // What may expire is for each to look at.
        let event = if n == 12 { event.ttl(Duration::from_secs(60)) } else { event };
        last = Some(publish(&broker, event).await);
        wanted.push(n.to_string());
        if n == 9 {
            assert_eq!(take(&mut first, 10).await, (wanted.clone(), 10));
            assert_eq!(first.cursor(), last);
        }
    }
    let rest = take(&mut first, 10).await;
    assert_eq!(rest.0, wanted[10..]);
    assert_eq!(first.cursor(), last);

    let behind = take(&mut second, 20).await;
    assert_eq!(behind.0, wanted);

    let mut got = Vec::new();
    while got.len() < 20 {
        timeout(PATIENCE, alone.recv_many(&mut got, 7)).await.unwrap();
    }
    let texts: Vec<_> = got
        .iter()
        .map(|delivery| match delivery {
            Delivery::Message(message) => message.data().as_str().to_owned(),
            other => panic!("a message was expected, not {other:?}"),
        })
        .collect();
    assert_eq!(texts, wanted);
    broker.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_expires_before_it_is_received_is_not_shared() {
    let broker = Broker::builder().build().unwrap();
    let mut subscriptions = [0, 1].map(|_| broker.subscribe(["news"]).open().unwrap());
    for subscription in &mut subscriptions {
        opened(subscription).await;
    }
    publish(&broker, Event::new("soon over").ttl(Duration::from_secs(1))).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    publish(&broker, "still there").await;
    for subscription in &mut subscriptions {
        assert_eq!(take(subscription, 1).await.0, ["still there"]);
    }
    broker.close().await;
}

#[tokio::test]
async fn a_replay_ends_before_anything_is_shared() {
    let broker = Broker::builder().build().unwrap();
    let mut other = broker.subscribe(["news"]).open().unwrap();
    let start = opened(&mut other).await;
    publish(&broker, "one").await;
    publish(&broker, "two").await;

    let mut back = broker.subscribe(["news"]).resume(start).open().unwrap();
    let mut said = Vec::new();
    while !matches!(said.last(), Some(Delivery::Reconnected(_))) {
        let deliveries = timeout(PATIENCE, back.recv_shared(1)).await.unwrap();
        assert!(!deliveries.is_empty());
        said.extend(deliveries.iter().cloned());
    }
    assert!(matches!(
        &said[..],
        [Delivery::Message(_), Delivery::Message(_), Delivery::Reconnected(end)]
            if end.delivered == 2 && end.complete
    ));
    publish(&broker, "three").await;
    assert_eq!(take(&mut back, 1).await, (vec!["three".to_owned()], 1));
    assert_eq!(take(&mut other, 3).await.0, ["one", "two", "three"]);
    broker.close().await;
}

#[tokio::test]
async fn the_stream_ends_with_a_hint_and_then_with_nothing() {
    let broker = Broker::builder().build().unwrap();
    let mut subscription = broker.subscribe(["news"]).open().unwrap();
    opened(&mut subscription).await;
    broker.close().await;
    let deliveries = timeout(PATIENCE, subscription.recv_shared(100)).await.unwrap();
    assert!(matches!(&deliveries[..], [Delivery::Closing(_)]), "{deliveries:?}");
    assert!(timeout(PATIENCE, subscription.recv_shared(100)).await.unwrap().is_empty());
}
