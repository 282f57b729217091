//! Coming back with an id.

use tavern_backend::MemoryBackend;
use tavern_http::HttpConfig;

use crate::kit::Hub;

#[tokio::test]
async fn the_header_resumes_right_behind_its_id() {
    let hub = Hub::start().await;
    hub.publish("a", "1").await;
    let second = hub.publish("a", "2").await;
    let third = hub.publish("a", "3").await;
    let mut stream = hub.resume("/events?topic=a", &second).await;
    let block = stream.block().await;
    assert_eq!((block.data.as_deref(), block.id.as_deref()), (Some("3"), Some(&*third)));
    let end = stream.block().await;
    assert_eq!(end.event.as_deref(), Some("tavern-reconnected"));
    let told: serde_json::Value = serde_json::from_str(&end.data.unwrap()).unwrap();
    assert_eq!(told["replayDelivered"], 1);
    assert_eq!(told["complete"], true);
    hub.publish("a", "4").await;
    assert_eq!(stream.data().await, "4");
}

#[tokio::test]
async fn the_query_resumes_and_the_header_wins_over_it() {
    let hub = Hub::start().await;
    let first = hub.publish("a", "1").await;
    let second = hub.publish("a", "2").await;
    hub.publish("a", "3").await;
    let path = format!("/events?topic=a&lastEventId={first}");
    let mut by_query = hub.open(&path).await;
    assert_eq!(by_query.data().await, "2");
    // As a browser does that was given the query and reconnects by itself.
    let mut by_header = hub.resume(&path, &second).await;
    assert_eq!(by_header.data().await, "3");
}

#[tokio::test]
async fn an_id_goes_on_on_another_node() {
    let backend = MemoryBackend::new();
    let other = Hub::on(backend.fork(), HttpConfig::default()).await;
    let hub = Hub::on(backend, HttpConfig::default()).await;
    let mut stream = other.open("/events?topic=a").await;
    let opening = stream.opening().await;
    hub.publish("a", "1").await;
    let block = stream.block().await;
    assert_eq!(block.data.as_deref(), Some("1"));
    let id = block.id.unwrap();
    drop(stream);
    other.publish("a", "2").await;
    let mut there = hub.resume("/events?topic=a", &*id).await;
    assert_eq!(there.data().await, "2");
    let mut from_opening = hub.resume("/events?topic=a", opening).await;
    assert_eq!((from_opening.data().await, from_opening.data().await), ("1".into(), "2".into()));
}

#[tokio::test]
async fn a_publishers_id_behind_the_cursor_is_carried_along() {
    let hub = Hub::start().await;
    hub.post("/topics/a?id=%C3%A9%20~1").body("1").send().await.unwrap();
    let mut stream = hub.open("/events?topic=a&start=oldest").await;
    let id = stream.event("message").await.id.unwrap();
    assert!(id.ends_with("~é ~1"), "{id}");
    hub.publish("a", "2").await;
    let mut back = hub.resume("/events?topic=a", id.as_bytes()).await;
    assert_eq!(back.data().await, "2");
}

#[tokio::test]
async fn bytes_that_are_no_id_are_told_as_a_gap() {
    let hub = Hub::start().await;
    for id in [&b"\xff\xfe"[..], b"no-such-id", b"1zzzz-1"] {
        let mut stream = hub.resume("/events?topic=a&topic=b", id).await;
        let gap = stream.block().await;
        assert_eq!(gap.event.as_deref(), Some("tavern-replay-gap"));
        assert_eq!(gap.id, None);
        let told: serde_json::Value = serde_json::from_str(&gap.data.unwrap()).unwrap();
        assert_eq!(told["reason"], "unknown-id");
        let end = stream.event("tavern-reconnected").await;
        assert!(end.id.is_some(), "the next reconnect would tell the gap again");
    }
}

#[tokio::test]
async fn a_fresh_stream_can_begin_with_what_is_kept() {
    let hub = Hub::start().await;
    hub.publish("a", "1").await;
    let mut stream = hub.open("/events?topic=a&start=oldest").await;
    assert_eq!(stream.data().await, "1");
    let mut now = hub.open("/events?topic=a&start=now").await;
    now.opening().await;
    hub.publish("a", "2").await;
    assert_eq!(now.data().await, "2");
}
