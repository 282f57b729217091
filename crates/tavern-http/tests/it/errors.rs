//! Everything a client can do wrong: the right status, a type, and a sentence to act on.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tavern_http::HttpConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{Hub, within};

/// Method, path, content type, body → status, kind, words of the sentence.
type Row = (Method, &'static str, &'static str, Vec<u8>, u16, &'static str, &'static str);

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const TEXT: &str = "text/plain";

fn table() -> Vec<Row> {
    let get = |path, status, kind, words| -> Row {
        (Method::GET, path, "", Vec::new(), status, kind, words)
    };
    let post = |path, kind, body: &[u8], status, problem, words| -> Row {
        (Method::POST, path, kind, body.to_vec(), status, problem, words)
    };
    let message = |fields: &str| format!(r#"{{"topic":"a","data":"x"{fields}}}"#).into_bytes();
    vec![
        // Streams.
        get("/events", 400, "missing-topic", "/events?topic="),
        get("/events?topic=", 400, "invalid-topic", "it is empty"),
        get("/events?topic=a//b", 400, "invalid-topic", "segment between slashes is empty"),
        get("/events?topic=a%0Ab", 400, "invalid-topic", "control character"),
        get(
            "/events?topic=%ff",
            400,
            "invalid-parameter",
            "`topic`, percent-decoded, is not UTF-8",
        ),
        get(
            "/events?topic=a&topic=b&topic=c&topic=d",
            400,
            "too-many-topics",
            "4 topics are named, 3 at most",
        ),
        get("/events?topic=a&scope=", 400, "invalid-scope", "it is empty"),
        get("/events?topic=a&scope=a%0Db", 400, "invalid-scope", "line break"),
        get(
            "/events?topic=a&scope=a&scope=b",
            400,
            "invalid-parameter",
            "`scope` comes more than once",
        ),
        get("/events?topic=a&start=yesterday", 400, "invalid-parameter", "`now` or `oldest`"),
        get(
            "/events?topics=a",
            400,
            "unknown-parameter",
            "`topics` is not a parameter of this request; it knows `topic`, `scope`, `lastEventId`, `start`",
        ),
        // Paths and methods.
        get("/nowhere", 404, "not-found", "GET /events, POST /publish"),
        get("/events/", 404, "not-found", "GET /events"),
        get("/publish", 405, "method-not-allowed", "answers POST"),
        get("/topics/a", 405, "method-not-allowed", "to follow a topic: GET /events?topic="),
        post("/events?topic=a", TEXT, b"", 405, "method-not-allowed", "answers GET and HEAD"),
        (
            Method::DELETE,
            "/status",
            "",
            Vec::new(),
            405,
            "method-not-allowed",
            "answers GET and HEAD",
        ),
        // A topic.
        post("/topics", TEXT, b"x", 400, "invalid-topic", "it is empty"),
        post("/topics/", TEXT, b"x", 400, "invalid-topic", "it is empty"),
        post("/topics/a//b", TEXT, b"x", 400, "invalid-topic", "segment between slashes is empty"),
        post("/topics/a%ff", TEXT, b"x", 400, "invalid-topic", "not UTF-8"),
        post("/topics/a/*", TEXT, b"x", 400, "invalid-topic", "`*` is a wildcard"),
        post("/topics/$tavern/x", TEXT, b"x", 400, "invalid-topic", "$"),
        post("/topics/a%00", TEXT, b"x", 400, "invalid-topic", "control character"),
        post("/topics/a?event=tavern-cursor", TEXT, b"x", 400, "invalid-event", "reserved"),
        post("/topics/a?event=", TEXT, b"x", 400, "invalid-event", "it is empty"),
        post("/topics/a?event=a%0Adata:b", TEXT, b"x", 400, "invalid-event", "line break"),
        post("/topics/a?id=%00", TEXT, b"x", 400, "invalid-id", "NUL"),
        post("/topics/a?scope=", TEXT, b"x", 400, "invalid-scope", "it is empty"),
        post("/topics/a?ttl=soon", TEXT, b"x", 400, "invalid-ttl", "whole number of milliseconds"),
        post("/topics/a?ttl=-1", TEXT, b"x", 400, "invalid-ttl", "whole number of milliseconds"),
        post("/topics/a?ttl=99999999999999999999", TEXT, b"x", 400, "invalid-ttl", "whole number"),
        post(
            "/topics/a?retain=1",
            TEXT,
            b"x",
            400,
            "unknown-parameter",
            "it knows `event`, `id`, `scope`, `ttl`",
        ),
        post("/topics/a", TEXT, b"\xff\xfe", 400, "invalid-data", "base64"),
        post(
            "/topics/a",
            TEXT,
            &vec![b'x'; (1 << 20) + 1],
            413,
            "too-large",
            "1048577 bytes, 1048576 at most",
        ),
        // Messages as JSON.
        post("/publish", "", b"{}", 415, "unsupported-media-type", "the content type is none"),
        post("/publish", TEXT, b"{}", 415, "unsupported-media-type", "`text/plain`; send"),
        post("/publish", JSON, b"", 400, "invalid-json", "line 1 column 0"),
        post("/publish", JSON, b"{\"topic\":\n\"a\",}", 400, "invalid-json", "line 2 column 5"),
        post("/publish", JSON, b"[{},", 400, "invalid-json", "line 1 column 4"),
        post("/publish", JSON, b"[] []", 400, "invalid-json", "trailing characters"),
        post("/publish", JSON, b"[[[[", 400, "invalid-json", "line 1"),
        post("/publish", JSON, &b"[".repeat(100_000), 400, "invalid-json", "line 1"),
        post("/publish", JSON, &br#"{"topic":"#.repeat(100_000), 400, "invalid-json", "line 1"),
        post(
            "/publish",
            JSON,
            b"{\"topic\":\"a\",\"data\":\"\xff\"}",
            400,
            "invalid-message",
            "line 1",
        ),
        post(
            "/publish",
            JSON,
            br#"{"topic":"a","data":"\ud800"}"#,
            400,
            "invalid-message",
            "line 1",
        ),
        post("/publish", JSON, b"5", 400, "invalid-message", "JSON object"),
        post("/publish", JSON, br#"{"topic":5,"data":"x"}"#, 400, "invalid-topic", "not a number"),
        post("/publish", JSON, br#"{"data":"x"}"#, 400, "invalid-topic", "it is missing"),
        post("/publish", JSON, br#"{"topic":"a//b","data":"x"}"#, 400, "invalid-topic", "segment"),
        post("/publish", JSON, br#"{"topic":"","data":"x"}"#, 400, "invalid-topic", "it is empty"),
        post("/publish", JSON, br#"{"topic":"$x","data":"x"}"#, 400, "invalid-topic", "$"),
        post("/publish", JSON, &message(r#","scope":"""#), 400, "invalid-scope", "it is empty"),
        post("/publish", JSON, &message(r#","scope":"a\nb""#), 400, "invalid-scope", "line break"),
        post("/publish", JSON, &message(r#","id":"a\u0000""#), 400, "invalid-id", "NUL"),
        post(
            "/publish",
            JSON,
            &message(r#","event":"tavern-x""#),
            400,
            "invalid-event",
            "reserved",
        ),
        post(
            "/publish",
            JSON,
            &message(r#","ttl":-1"#),
            400,
            "invalid-ttl",
            "whole number of milliseconds",
        ),
        post(
            "/publish",
            JSON,
            &message(r#","ttl":"5s""#),
            400,
            "invalid-ttl",
            "whole number of milliseconds",
        ),
        post(
            "/publish",
            JSON,
            &vec![b' '; 2 << 20],
            413,
            "too-large",
            "2097152 bytes, 1500000 at most",
        ),
        post("/publish", JSON, b"[1,2,3,4,5]", 413, "too-many-messages", "more than 4 messages"),
        post(
            "/publish",
            NDJSON,
            b"1\n2\n3\n4\n5\n",
            413,
            "too-many-messages",
            "more than 4 messages",
        ),
        {
            let data = "x".repeat((1 << 20) + 1);
            let body = format!(r#"{{"topic":"a","data":"{data}"}}"#).into_bytes();
            post("/publish", JSON, &body, 413, "too-large", "1048577 bytes, 1048576 at most")
        },
    ]
}

#[tokio::test]
async fn everything_a_client_can_do_wrong_is_explained() {
    let config =
        HttpConfig::default().with_max_topics(3).with_max_messages(4).with_max_body(1_500_000);
    let hub = Hub::with(config).await;
    let mut wrong = Vec::new();
    for (method, path, kind, body, status, problem, words) in table() {
        let mut request = hub.request(method.clone(), path);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        if method == Method::POST {
            request = request.body(body);
        }
        let reply = within(path, request.send()).await.unwrap();
        let found = reply.status();
        let content = reply.headers().get("content-type").cloned();
        let allow = reply.headers().contains_key("allow");
        let text = reply.text().await.unwrap();
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        let fragment = told["type"].as_str().and_then(|t| t.split_once('#')).map_or("", |t| t.1);
        let detail = told["detail"].as_str().unwrap_or_default();
        let right = found == status
            && content.is_some_and(|c| c == "application/problem+json")
            && told["status"] == status
            && told["title"].as_str().is_some_and(|title| !title.is_empty())
            && fragment == problem
            && detail.contains(words)
            && (status != 405 || allow);
        if !right {
            wrong.push(format!("{method} {path} {kind}: {found} {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(hub.get("/healthz").send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let hub = Hub::start().await;
    let allow = async |method, path| {
        let reply = hub.request(method, path).send().await.unwrap();
        let allow = reply.headers()["allow"].to_str().unwrap().to_owned();
        (reply.status().as_u16(), allow)
    };
    assert_eq!(allow(Method::PUT, "/events").await, (405, "GET,HEAD".to_owned()));
    assert_eq!(allow(Method::GET, "/topics/a/b").await, (405, "POST".to_owned()));
    assert_eq!(allow(Method::OPTIONS, "/publish").await, (204, "POST".to_owned()));
}

#[tokio::test]
async fn a_closed_node_says_where_to_go() {
    let hub = Hub::start().await;
    hub.broker.close().await;
    for body in [r#"{"topic":"a","data":"x"}"#, r#"[{"topic":"a","data":"x"}]"#] {
        let request = hub.post("/publish").header("content-type", JSON).body(body);
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), 503);
        assert_eq!(reply.headers()["retry-after"], "1");
        let told: Value = reply.json().await.unwrap();
        assert!(told["detail"].as_str().unwrap().contains("to any node"), "{told}");
    }
}

/// Sends `bytes` and keeps the connection open; what comes back.
async fn raw(hub: &Hub, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(hub.base.trim_start_matches("http://")).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut reply = Vec::new();
    within("the answer", async {
        while !reply.ends_with(b"}") {
            let mut part = [0; 4096];
            match socket.read(&mut part).await.unwrap() {
                0 => break,
                n => reply.extend_from_slice(&part[..n]),
            }
        }
    })
    .await;
    String::from_utf8(reply).unwrap()
}

async fn is_told(hub: &Hub, request: &[u8], status: u16, words: &str) {
    let reply = raw(hub, request).await;
    assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
    assert!(reply.contains(words), "{reply}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let config = HttpConfig::default().with_body_timeout(Duration::from_millis(50));
    let hub = Hub::with(config).await;
    let head = b"POST /topics/a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhel";
    is_told(&hub, head, 408, "#body-timeout").await;
}

#[tokio::test]
async fn a_body_known_to_be_too_large_is_refused_before_it_comes() {
    let hub = Hub::start().await;
    let head = b"POST /topics/a HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999\r\n\r\n";
    is_told(&hub, head, 413, "99999999999999 bytes").await;
}

#[tokio::test]
async fn a_body_of_unknown_size_is_cut_at_the_limit() {
    let hub = Hub::with(HttpConfig::default().with_max_body(10)).await;
    let head = b"POST /publish HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 transfer-encoding: chunked\r\n\r\n20\r\n                                \r\n";
    is_told(&hub, head, 413, "more than 10 bytes").await;
}

#[tokio::test]
async fn a_body_that_is_not_framed_right_is_said_so() {
    let hub = Hub::start().await;
    let head = b"POST /topics/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    is_told(&hub, head, 400, "#unreadable-body").await;
}
