//! Pages of other sites.

use reqwest::Method;
use tavern_http::HttpConfig;

use crate::kit::Hub;

const APP: &str = "https://app.example";
const EVIL: &str = "https://evil.example";

async fn hub(origins: &[&str]) -> Hub {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    Hub::with(HttpConfig::default().with_allow_origins(origins)).await
}

async fn allowed(hub: &Hub, origin: &str) -> Option<String> {
    let reply = hub.get("/events?topic=a").header("origin", origin).send().await.unwrap();
    let header = reply.headers().get("access-control-allow-origin");
    header.map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn without_configuration_no_other_site_can_read_or_publish() {
    let hub = hub(&[]).await;
    assert_eq!(allowed(&hub, EVIL).await, None);
    // A browser sends this without asking first; it must not have an effect.
    let reply = hub.post("/topics/a").header("origin", EVIL).body("x").send().await.unwrap();
    assert_eq!(reply.status(), 403);
    let told: serde_json::Value = reply.json().await.unwrap();
    assert!(told["detail"].as_str().unwrap().contains("--allow-origin"), "{told}");
    let request = hub.post("/publish").header("origin", EVIL);
    let request = request.header("content-type", "application/json");
    let reply = request.body(r#"{"topic":"a","data":"x"}"#).send().await.unwrap();
    assert_eq!(reply.status(), 403);
    assert_eq!(hub.broker.status().counters.published_stored, 0);
}

#[tokio::test]
async fn an_allowed_origin_can_read_publish_and_ask_first() {
    let hub = hub(&[APP]).await;
    assert_eq!(allowed(&hub, APP).await.as_deref(), Some(APP));
    assert_eq!(allowed(&hub, EVIL).await, None);
    let reply = hub.post("/topics/a").header("origin", APP).body("x").send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["access-control-allow-origin"], APP);
    let ask = hub.request(Method::OPTIONS, "/publish").header("origin", APP);
    let ask = ask.header("access-control-request-method", "POST");
    let reply = ask.header("access-control-request-headers", "content-type").send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["access-control-allow-origin"], APP);
    assert!(
        reply.headers()["access-control-allow-headers"].to_str().unwrap().contains("content-type")
    );
}

#[tokio::test]
async fn a_star_allows_all() {
    let hub = hub(&["*"]).await;
    assert_eq!(allowed(&hub, EVIL).await.as_deref(), Some("*"));
    let reply = hub.post("/topics/a").header("origin", EVIL).body("x").send().await.unwrap();
    assert_eq!(reply.status(), 200);
}
