//! The body by itself: what is shared and what is written at once.

use bytes::Bytes;
use http_body_util::BodyExt;
use tavern_backend::{Bus, MemoryBackend};
use tavern_broker::{Broker, BrokerConfig, Delivery, Event};
use tavern_http::{SseBody, SseConfig};

use crate::kit::within;

async fn next(body: &mut SseBody) -> Bytes {
    within("a write", body.frame()).await.unwrap().unwrap().into_data().unwrap()
}

/// A body that has written its opening cursor, and a subscriber beside it that has read it.
async fn open(config: &SseConfig) -> (Broker, SseBody, tavern_broker::Subscription) {
    open_on(Broker::builder().bus(Bus::new(MemoryBackend::new())).build().unwrap(), config).await
}

async fn open_on(
    broker: Broker,
    config: &SseConfig,
) -> (Broker, SseBody, tavern_broker::Subscription) {
    let mut body = SseBody::new(broker.subscribe(["a"]).open().unwrap(), config);
    assert!(next(&mut body).await.starts_with(b"retry: "));
    assert!(next(&mut body).await.starts_with(b"id: "));
    let mut beside = broker.subscribe(["a"]).open().unwrap();
    assert!(matches!(within("the cursor", beside.recv()).await, Some(Delivery::Cursor(_))));
    (broker, body, beside)
}

#[tokio::test]
async fn a_single_frame_is_written_as_the_bytes_all_share() {
    let (broker, mut body, mut beside) = open(&SseConfig::default()).await;
    broker.publish("a", "x").await.unwrap();
    let Some(Delivery::Message(message)) = within("it", beside.recv()).await else { panic!() };
    assert_eq!(next(&mut body).await.as_ptr(), message.encoded().as_ptr());
}

#[tokio::test]
async fn what_is_queued_leaves_in_one_write() {
    let (broker, mut body, mut beside) = open(&SseConfig::default()).await;
    let mut expected = Vec::new();
    for n in 0..100 {
        broker.publish("a", Event::new(format!("message {n}"))).await.unwrap();
        let Some(Delivery::Message(message)) = within("it", beside.recv()).await else { panic!() };
        expected.extend_from_slice(message.encoded());
    }
    let mut written = Vec::new();
    let mut writes = 0;
    while written.len() < expected.len() {
        written.extend_from_slice(&next(&mut body).await);
        writes += 1;
    }
    assert_eq!(written, expected);
    assert_eq!(writes, 1, "for 100 frames");
}

#[tokio::test]
async fn a_write_is_bounded_unless_one_frame_is_larger() {
    let mut config = SseConfig::default();
    config.coalesce = 1000;
    let (broker, mut body, mut beside) = open(&config).await;
    for size in [400, 400, 400, 5000, 10] {
        broker.publish("a", "x".repeat(size)).await.unwrap();
        within("it", beside.recv()).await.unwrap();
    }
    let mut sizes = Vec::new();
    for _ in 0..4 {
        sizes.push(next(&mut body).await.len());
    }
    assert!((800..1000).contains(&sizes[0]), "{sizes:?}");
    assert!((400..500).contains(&sizes[1]), "{sizes:?}");
    assert!((5000..5100).contains(&sizes[2]), "{sizes:?}");
    assert!((10..100).contains(&sizes[3]), "{sizes:?}");
}

#[tokio::test]
async fn a_slow_client_keeps_nothing_of_what_has_not_been_written_to_it() {
    let mut limits = BrokerConfig::default();
    limits.ring_bytes = 1 << 20;
    let bus = Bus::new(MemoryBackend::new());
    let broker = Broker::builder().bus(bus).config(limits).build().unwrap();
    let (broker, mut body, mut beside) = open_on(broker, &SseConfig::default()).await;
    let mut frames = Vec::new();
    for _ in 0..10 {
        broker.publish("a", "x".repeat(50_000)).await.unwrap();
        let Some(Delivery::Message(message)) = within("it", beside.recv()).await else { panic!() };
        frames.push(message.encoded().clone());
    }
    let written = next(&mut body).await;
    assert_eq!(written.as_ptr(), frames[0].as_ptr(), "one of ten");
    // They leave the ring while the client does not read on.
    let mut elsewhere = broker.subscribe(["b"]).open().unwrap();
    assert!(matches!(within("the cursor", elsewhere.recv()).await, Some(Delivery::Cursor(_))));
    for _ in 0..30 {
        broker.publish("b", "x".repeat(50_000)).await.unwrap();
        within("it", elsewhere.recv()).await.unwrap();
    }
    let kept = frames[1..].iter().filter(|frame| !frame.is_unique()).count();
    assert_eq!(kept, 0, "of nine that were not written");
}
