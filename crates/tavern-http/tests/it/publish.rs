//! `POST /publish` and `POST /topics/{topic}`: outcomes.

use serde_json::{Value, json};
use tavern_http::HttpConfig;

use crate::kit::Hub;

const NDJSON: &str = "application/x-ndjson";

async fn post(hub: &Hub, path: &str, kind: &str, body: impl ToString) -> (u16, String) {
    let request = hub.post(path).header("content-type", kind).body(body.to_string());
    let reply = request.send().await.unwrap();
    (reply.status().as_u16(), reply.text().await.unwrap())
}

async fn json(hub: &Hub, body: Value) -> (u16, Value) {
    let (status, text) = post(hub, "/publish", "application/json; charset=utf-8", body).await;
    (status, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn one_message_is_answered_with_its_id() {
    let hub = Hub::start().await;
    let mut stream = hub.open("/events?topic=a").await;
    stream.opening().await;
    let (status, answer) = json(&hub, json!({"topic": "a", "data": "x", "other": 1})).await;
    assert_eq!((status, &answer["status"]), (200, &json!("stored")));
    let block = stream.block().await;
    assert_eq!(block.id.as_deref(), answer["id"].as_str());
}

#[tokio::test]
async fn an_id_given_twice_is_a_duplicate_or_a_conflict() {
    let hub = Hub::start().await;
    let message = json!({"topic": "a", "data": "x", "id": "1"});
    let (_, first) = json(&hub, message.clone()).await;
    let (status, again) = json(&hub, message).await;
    assert_eq!((status, &again["status"]), (200, &json!("duplicate")));
    assert_eq!(again["id"], first["id"]);
    let (status, problem) = json(&hub, json!({"topic": "a", "data": "y", "id": "1"})).await;
    assert_eq!(status, 409, "{problem}");
    let (_, elsewhere) = json(&hub, json!({"topic": "b", "data": "x", "id": "1"})).await;
    assert_eq!(elsewhere["status"], "stored");
}

#[tokio::test]
async fn of_several_each_has_its_answer_in_order() {
    let hub = Hub::start().await;
    let (status, answers) = json(
        &hub,
        json!([
            {"topic": "a", "data": "1"},
            {"topic": "a//b", "data": "2"},
            {"data": "3"},
            {"topic": "live/a", "data": "4"},
            {"topic": "a", "data": "5"},
        ]),
    )
    .await;
    assert_eq!(status, 200);
    let statuses: Vec<_> = answers.as_array().unwrap().iter().map(|a| &a["status"]).collect();
    assert_eq!(statuses, ["stored", "rejected", "rejected", "live", "stored"]);
    assert!(answers[1]["reason"].as_str().unwrap().contains("invalid topic"), "{answers}");
    assert!(answers[1]["type"].as_str().unwrap().ends_with("#invalid-topic"), "{answers}");
    assert_eq!(answers[1]["retryable"], false);
    assert!(answers[2]["reason"].as_str().unwrap().contains("topic"), "{answers}");

    let (status, none) = json(&hub, json!([])).await;
    assert_eq!((status, none), (200, json!([])));
}

#[tokio::test]
async fn lines_are_answered_by_lines() {
    let hub = Hub::start().await;
    let lines =
        "{\"topic\":\"a\",\"data\":\"1\"}\r\n\n{\"topic\":\n{\"topic\":\"a\",\"data\":\"2\"}";
    let (status, text) = post(&hub, "/publish", NDJSON, lines).await;
    assert_eq!(status, 200);
    let answers: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<_> = answers.iter().map(|answer| &answer["status"]).collect();
    assert_eq!(statuses, ["stored", "rejected", "stored"]);
    assert!(answers[1]["type"].as_str().unwrap().ends_with("#invalid-json"), "{text}");
}

#[tokio::test]
async fn a_topic_takes_any_text_whatever_its_type() {
    let hub = Hub::start().await;
    let mut stream = hub.open("/events?topic=a/b+c/%C3%A9&topic=a/b&topic=c").await;
    stream.opening().await;
    let (status, _) = post(&hub, "/topics/a/b%20c/%C3%A9", "image/png", "1").await;
    assert_eq!(status, 200);
    // `curl -d` says this; a slash may be written either way.
    let (status, _) = post(&hub, "/topics/a%2Fb", "application/x-www-form-urlencoded", "x=1").await;
    assert_eq!(status, 200);
    assert_eq!(hub.post("/topics/c").send().await.unwrap().status(), 200);
    assert_eq!((stream.data().await, stream.data().await), ("1".into(), "x=1".into()));
    assert_eq!(stream.data().await, "");
}

#[tokio::test]
async fn a_topic_of_dots_is_a_topic() {
    let hub = Hub::start().await;
    let (_, answer) = json(&hub, json!({"topic": "../.", "data": "x"})).await;
    assert_eq!(answer["status"], "stored");
}

#[tokio::test]
async fn no_ttl_is_a_reason_to_fail() {
    let hub = Hub::start().await;
    for ttl in [0, 1, 60_000, u64::MAX] {
        let data = ttl.to_string();
        let (status, text) = post(&hub, &format!("/topics/a?ttl={ttl}"), "text/plain", &data).await;
        assert_eq!(status, 200, "{text}");
        let (status, answer) = json(&hub, json!({"topic": "a", "data": data, "ttl": ttl})).await;
        assert_eq!(status, 200, "{answer}");
    }
    // Zero is no limit; one is over.
    let mut stream = hub.open("/events?topic=a&start=oldest").await;
    for ttl in ["0", "0", "60000", "60000", "18446744073709551615"] {
        let mut data = stream.data().await;
        while data == "1" {
            data = stream.data().await;
        }
        assert_eq!(data, ttl);
    }
}

#[tokio::test]
async fn a_live_message_has_no_id() {
    let hub = Hub::start().await;
    let mut stream = hub.open("/events?topic=live/a").await;
    stream.opening().await;
    let (status, answer) = json(&hub, json!({"topic": "live/a", "data": "x"})).await;
    assert_eq!((status, answer), (200, json!({"status": "live"})));
    let block = stream.block().await;
    assert_eq!((block.id, block.data.as_deref()), (None, Some("x")));
}

#[tokio::test]
async fn while_the_backend_is_away_messages_wait_and_then_are_refused() {
    let hub = Hub::start().await;
    hub.publish("a", "0").await;
    hub.cable.cut();
    let (status, answer) = json(&hub, json!({"topic": "a", "data": "1"})).await;
    assert_eq!((status, &answer["status"]), (202, &json!("spooled")), "{answer}");
    let left = answer["tryingForMs"].as_u64().unwrap();
    assert!((1..=60_000).contains(&left), "{answer}");
    let message = json!({"topic": "a", "data": "2"});
    let (status, answers) = json(&hub, json!([message, message])).await;
    assert_eq!((status, answers[1]["status"].as_str()), (202, Some("spooled")), "{answers}");

    // The spool of this hub holds three.
    let full = hub.post("/topics/a").body("4").send().await.unwrap();
    assert_eq!(full.status(), 503);
    assert!(full.headers().contains_key("retry-after"));
    let problem: Value = full.json().await.unwrap();
    assert!(problem["type"].as_str().unwrap().ends_with("#spool-full"), "{problem}");
    // Nothing of this was accepted: there is only one thing to say.
    let (status, problem) = json(&hub, json!([message, message])).await;
    assert_eq!((status, &problem["status"]), (503, &json!(503)), "{problem}");

    hub.cable.heal();
    let mut stream = hub.open("/events?topic=a&start=oldest").await;
    for expected in ["0", "1", "2", "2"] {
        assert_eq!(stream.data().await, expected);
    }
}

#[tokio::test]
async fn a_message_at_the_limit_passes() {
    let hub = Hub::with(HttpConfig::default()).await;
    let max = hub.broker.bus().info().max_payload;
    let (status, text) = post(&hub, "/topics/a", "text/plain", "x".repeat(max)).await;
    assert_eq!(status, 200, "{text}");
    let (status, _) = json(&hub, json!({"topic": "a", "data": "é".repeat(max / 2)})).await;
    assert_eq!(status, 200);
}
