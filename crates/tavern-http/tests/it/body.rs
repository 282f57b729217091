//! The body by itself: what is shared and what is written at once.

use bytes::Bytes;
use http_body_util::BodyExt;
use tavern_backend::{Bus, MemoryBackend};
use tavern_broker::{Broker, Delivery, Event};
use tavern_http::{SseBody, SseConfig};

use crate::kit::within;

async fn next(body: &mut SseBody) -> Bytes {
    within("a write", body.frame()).await.unwrap().unwrap().into_data().unwrap()
}

/// A body that has written its opening cursor, and a subscriber beside it that has read it.
async fn open(config: &SseConfig) -> (Broker, SseBody, tavern_broker::Subscription) {
    let broker = Broker::builder().bus(Bus::new(MemoryBackend::new())).build().unwrap();
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
    // The first is small, as the body does not know yet how large frames are.
    assert!(writes <= 3, "{writes} writes for 100 frames");
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
