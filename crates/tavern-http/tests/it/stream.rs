//! `GET /events`: what leaves, and when.

use std::time::Duration;

use reqwest::Method;
use tavern_backend::MemoryBackend;
use tavern_http::{AdmitRate, HttpConfig, SseConfig};
use tavern_sse::Item;

use crate::kit::{Hub, eventually, within};

#[tokio::test]
async fn headers_and_retry_leave_before_any_message() {
    let sse = SseConfig::default().with_retry(Duration::from_millis(700), Duration::ZERO);
    let hub = Hub::with_sse(sse).await;
    let mut stream = hub.open("/events?topic=quiet").await;
    let headers = stream.headers();
    assert_eq!(headers["cache-control"], "no-cache, no-transform");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(stream.item().await, Some(Item::Retry(Duration::from_millis(700))));
}

#[tokio::test]
async fn the_opening_cursor_comes_without_any_message() {
    let hub = Hub::start().await;
    let mut stream = hub.open("/events?topic=quiet").await;
    let Some(Item::Retry(_)) = stream.item().await else { panic!("`retry:` comes first") };
    let block = stream.block().await;
    assert_eq!(block.event.as_deref(), Some("tavern-cursor"));
    // Without a data line Firefox and WebKit would not keep the id.
    assert_eq!(block.data.as_deref(), Some(""));
    assert!(block.id.is_some());
}

#[tokio::test]
async fn headers_leave_at_once_while_the_backend_is_away() {
    let backend = MemoryBackend::new();
    backend.cable().cut();
    let hub = Hub::on(backend, HttpConfig::default()).await;
    let mut stream = within("the head", hub.open("/events?topic=a")).await;
    assert!(matches!(stream.item().await, Some(Item::Retry(_))));
    assert_eq!(stream.block().await.event.as_deref(), Some("tavern-degraded"));
}

#[tokio::test]
async fn clients_are_spread_over_the_time_they_are_told() {
    let sse = SseConfig::default().with_retry(Duration::from_secs(1), Duration::from_secs(9));
    let hub = Hub::with_sse(sse).await;
    let mut told = Vec::new();
    for _ in 0..8 {
        let Some(Item::Retry(retry)) = hub.open("/events?topic=a").await.item().await else {
            panic!("`retry:` comes first")
        };
        assert!((Duration::from_secs(1)..=Duration::from_secs(10)).contains(&retry), "{retry:?}");
        told.push(retry);
    }
    told.dedup();
    assert!(told.len() > 1, "all were told {told:?}");
}

#[tokio::test]
async fn each_message_is_one_frame() {
    let hub = Hub::start().await;
    let mut stream = hub.open("/events?topic=orders/*&topic=news").await;
    stream.opening().await;
    let reply = hub.post("/topics/orders/7?event=paid&id=inv%201").body("two\nlines").send().await;
    let answer: serde_json::Value = reply.unwrap().json().await.unwrap();
    let cursor = answer["id"].as_str().unwrap();
    let block = stream.block().await;
    assert_eq!(block.id.as_deref(), Some(&*format!("{cursor}~inv 1")));
    assert_eq!(block.event.as_deref(), Some("paid"));
    assert_eq!(block.data.as_deref(), Some("two\nlines"));

    let id = hub.publish("news", "").await;
    let block = stream.block().await;
    assert_eq!((block.id.as_deref(), block.data.as_deref()), (Some(&*id), Some("")));
    assert_eq!(block.event, None);
}

#[tokio::test]
async fn a_scope_sees_its_own_messages_only() {
    let hub = Hub::start().await;
    let mut everybody = hub.open("/events?topic=notes").await;
    let mut alice = hub.open("/events?topic=notes&scope=user:alice").await;
    everybody.opening().await;
    alice.opening().await;
    for (scope, data) in
        [("?scope=user:bob", "bob's"), ("?scope=user:alice", "alice's"), ("", "all")]
    {
        let path = format!("/topics/notes{scope}");
        assert_eq!(hub.post(&path).body(data).send().await.unwrap().status(), 200);
    }
    assert_eq!(everybody.data().await, "all");
    assert_eq!(alice.data().await, "alice's");
}

#[tokio::test]
async fn a_silent_stream_gets_heartbeats() {
    let hub = Hub::with_sse(SseConfig::default().with_heartbeat(Duration::from_millis(20))).await;
    let mut stream = hub.open("/events?topic=quiet").await;
    stream.opening().await;
    for _ in 0..3 {
        assert_eq!(stream.item().await, Some(Item::Comment(String::new())));
    }
}

#[tokio::test]
async fn a_stream_may_do_without_heartbeats() {
    let hub = Hub::with_sse(SseConfig::default().with_heartbeat(Duration::MAX)).await;
    let mut stream = hub.open("/events?topic=t").await;
    stream.opening().await;
    hub.publish("t", "x").await;
    assert_eq!(stream.data().await, "x");
}

#[tokio::test]
async fn a_heartbeat_carries_the_cursor_that_moved() {
    let hub = Hub::with_sse(SseConfig::default().with_heartbeat(Duration::from_millis(20))).await;
    let mut quiet = hub.open("/events?topic=quiet").await;
    let opening = quiet.opening().await;
    let elsewhere = hub.publish("elsewhere", "x").await;
    let moved = quiet.event("tavern-cursor").await;
    assert_ne!(moved.id.as_deref(), Some(&*opening));
    assert_eq!(moved.id.as_deref(), Some(&*elsewhere));
    assert_eq!(moved.data, "");
    // It was told, so now there is only silence to fill.
    assert_eq!(quiet.item().await, Some(Item::Comment(String::new())));
}

#[tokio::test]
async fn live_messages_without_an_id_do_not_hold_the_cursor_back() {
    let hub = Hub::with_sse(SseConfig::default().with_heartbeat(Duration::from_millis(100))).await;
    let mut stream = hub.open("/events?topic=live/a&topic=quiet").await;
    stream.opening().await;
    let elsewhere = hub.publish("elsewhere", "x").await;
    let busy = async {
        loop {
            hub.post("/topics/live/a").body("tick").send().await.unwrap();
        }
    };
    let moved = async {
        let block = stream.event("tavern-cursor").await;
        assert_eq!(block.id.as_deref(), Some(&*elsewhere));
    };
    tokio::select! { () = busy => {}, () = moved => {} }
}

#[tokio::test]
async fn head_answers_without_a_stream() {
    let hub = Hub::start().await;
    let reply = hub.request(Method::HEAD, "/events?topic=a").send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "text/event-stream");
    let metrics = hub.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("tavern_http_streams_opened_total 0"), "{metrics}");
    assert_eq!(hub.request(Method::HEAD, "/events").send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_subscription() {
    let hub = Hub::start().await;
    let mut stream = hub.open("/events?topic=a").await;
    stream.opening().await;
    assert_eq!(hub.broker.status().subscribers, 1);
    drop(stream);
    eventually("the end of the subscription", || hub.broker.status().subscribers == 0).await;
}

#[tokio::test]
async fn closing_ends_streams_with_a_time_to_come_back() {
    let hub = Hub::start().await;
    let mut stream = hub.open("/events?topic=a").await;
    stream.opening().await;
    hub.broker.close().await;
    assert!(stream.end().await.is_some(), "no `retry:` before the end");

    // Any other status would end an EventSource for good.
    let mut late = hub.open("/events?topic=a").await;
    assert!(late.end().await.is_some());
}

#[tokio::test]
async fn one_stream_too_many_is_told_to_come_back() {
    let hub = Hub::with(HttpConfig::default().with_max_streams(Some(1))).await;
    let mut first = hub.open("/events?topic=a").await;
    first.opening().await;
    let mut second = hub.open("/events?topic=a").await;
    assert!(second.end().await.is_some());
    drop(first);
    eventually("room", || hub.broker.status().subscribers == 0).await;
    within("a stream", async {
        loop {
            // The permit goes with the connection, a moment after the subscription.
            let mut third = hub.open("/events?topic=a").await;
            let Some(Item::Retry(_)) = third.item().await else { panic!("`retry:` comes first") };
            if third.item().await.is_some() {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn who_comes_with_too_many_is_told_when_to_come_back_and_keeps_its_id() {
    let one = std::num::NonZeroU32::MIN;
    let sse = SseConfig::default().with_retry(Duration::from_millis(50), Duration::ZERO);
    let config = HttpConfig::default().with_sse(sse).with_admit(Some(AdmitRate::per_second(one)));
    let hub = Hub::with(config).await;
    let mut first = hub.open("/events?topic=a").await;
    let id = first.opening().await;
    hub.publish("a", "missed").await;
    drop(first);

    // One has begun: the next second has room for another.
    let mut told = Vec::new();
    let mut back = within("a stream", async {
        loop {
            let mut again = hub.resume("/events?topic=a", &id).await;
            assert_eq!(again.headers()["content-type"], "text/event-stream");
            let Some(Item::Retry(retry)) = again.item().await else {
                panic!("`retry:` comes first")
            };
            match again.item().await {
                // No id among it: a browser keeps its own.
                None => told.push(retry),
                Some(Item::Block(block)) => break block,
                Some(other) => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(back.data.take().as_deref(), Some("missed"));
    assert!(told.len() > 1, "{told:?}");
    assert!(
        told.is_sorted() && told[0] < *told.last().unwrap(),
        "the more wait, the later: {told:?}"
    );

    let deferred = u64::try_from(told.len()).unwrap();
    let status: serde_json::Value = hub.get("/status").send().await.unwrap().json().await.unwrap();
    assert_eq!(status["http"]["streams_deferred"], deferred, "{status}");
    assert_eq!(status["http"]["streams_opened"], 2, "{status}");
    let metrics = hub.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = format!("tavern_http_streams_deferred_total {deferred}\n");
    assert!(metrics.contains(&line), "{metrics}");
}
