//! Probes, status, metrics and the page.

use serde_json::Value;

use crate::kit::{Hub, eventually, within};

async fn json(hub: &Hub, path: &str) -> (u16, Value) {
    let reply = hub.get(path).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

#[tokio::test]
async fn a_node_that_lost_its_backend_is_alive_but_not_ready() {
    let hub = Hub::start().await;
    hub.publish("a", "x").await;
    within("ready", async { while json(&hub, "/readyz").await.0 != 200 {} }).await;
    assert_eq!(json(&hub, "/readyz").await.1["ready"], true);
    hub.cable.cut();
    eventually("not ready", || !hub.broker.readiness().ready).await;
    let (status, told) = json(&hub, "/readyz").await;
    assert_eq!(status, 503);
    assert!(told["type"].as_str().unwrap().ends_with("#not-ready"), "{told}");
    assert!(!told["reasons"].as_array().unwrap().is_empty(), "{told}");
    assert!(!told["detail"].as_str().unwrap().is_empty(), "{told}");
    let (status, alive) = json(&hub, "/healthz").await;
    assert_eq!((status, &alive["alive"]), (200, &Value::Bool(true)));
}

#[tokio::test]
async fn status_says_what_the_node_is_and_does() {
    let hub = Hub::start().await;
    let mut stream = hub.open("/events?topic=a").await;
    stream.opening().await;
    let id = hub.publish("a", "x").await;
    stream.data().await;
    let (code, status) = json(&hub, "/status").await;
    assert_eq!(code, 200);
    assert_eq!(status["namespace"], "default");
    assert_eq!((&status["subscribers"], &status["topics"]), (&1.into(), &1.into()));
    assert_eq!(status["backend"]["connected"], true);
    assert_eq!(status["backend"]["messages_sent"], 1);
    assert_eq!(status["counters"]["published_stored"], 1);
    let epoch = status["epoch"].as_str().unwrap();
    assert!(id.contains(epoch), "{id} is of another epoch than {epoch}");
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    let hub = Hub::start().await;
    let mut stream = hub.open("/events?topic=a").await;
    stream.opening().await;
    hub.publish("a", "x").await;
    stream.data().await;
    let reply = hub.get("/metrics").send().await.unwrap();
    let kind = reply.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = reply.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in [
        "tavern_published_stored_total 1",
        "tavern_subscribers 1",
        "tavern_backend_up 1",
        "tavern_http_streams_opened_total 1",
        "tavern_http_stream_frames_total 2",
    ] {
        assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
    }
}

#[tokio::test]
async fn the_page_runs_nothing_but_its_own_script() {
    let hub = Hub::start().await;
    let reply = hub.get("/").send().await.unwrap();
    assert_eq!(reply.headers()["content-type"], "text/html; charset=utf-8");
    let policy = reply.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let (_, rest) = policy.split_once("script-src 'nonce-").unwrap();
    let nonce = rest.split('\'').next().unwrap();
    let page = reply.text().await.unwrap();
    assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert!(!page.contains("{nonce}"));
    for outside in ["http://", "https://", "src=", "@import", "url(", "style=\""] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
    let again = hub.get("/").send().await.unwrap();
    assert!(!again.text().await.unwrap().contains(nonce), "a nonce is used once");
}
