//! Command line over environment over file.

use std::fs;

use crate::kit::{Node, empty, refused, tavern};

async fn namespace(flag: Option<&str>, environment: Option<&str>, file: &str) -> String {
    let dir = empty();
    fs::write(dir.path().join("tavern.toml"), file).unwrap();
    let mut command = tavern(dir.path());
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    if let Some(flag) = flag {
        command.args(["--namespace", flag]);
    }
    if let Some(environment) = environment {
        command.env("TAVERN_NAMESPACE", environment);
    }
    let node = Node::of(command).await;
    node.json("/status").await["namespace"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let file = "namespace = 'of the file'";
    assert_eq!(namespace(None, None, "").await, "default");
    assert_eq!(namespace(None, None, file).await, "of the file");
    assert_eq!(namespace(None, Some("environment"), file).await, "environment");
    assert_eq!(namespace(Some("a&b=c?"), Some("environment"), file).await, "a&b=c?");
}

#[tokio::test]
async fn every_setting_can_come_from_the_file() {
    let dir = empty();
    let file = r#"
        listen = "127.0.0.1:0"
        backend = "sqlite:shop.db"
        anonymous = false
        allow_origins = ["https://app.example"]
        durability = "normal"
        log = "warn"
        heartbeat = "5s"
        retry = "2s"
        max_streams = 10
        admit_rate = 1000
        admit_burst = 2000
        max_topics = 2
        max_body = 100
        max_messages = 5
        ring_bytes = 1000000
        shutdown_timeout = "1s"
        [[retention]]
        topics = "short/**"
        keep = 2
        age = "1h"
    "#;
    fs::write(dir.path().join("hub.toml"), file).unwrap();
    let mut command = tavern(dir.path());
    command.arg("serve").env("TAVERN_CONFIG", "hub.toml");
    let node = Node::of(command).await;
    assert!(dir.path().join("shop.db").exists());
    let status = node.json("/status").await;
    assert!(status["backend"]["durability"].as_str().unwrap().contains("NORMAL"), "{status}");
    assert_eq!(node.get("/events?topic=a&topic=b&topic=c").await.status(), 400);

    let first = node.post("short/a", "1").await;
    for data in ["2", "3", "4"] {
        node.post("short/a", data).await;
    }
    let mut stream = node.stream("short/a", &first).await;
    let gap = stream.event("tavern-replay-gap").await.data;
    assert!(gap.contains(r#""reason":"trimmed""#), "{gap}");
    assert_eq!((stream.message().await.0, stream.message().await.0), ("3".into(), "4".into()));
}

#[tokio::test]
async fn a_file_that_is_named_must_exist_and_be_right() {
    let dir = empty();
    let serve = ["serve", "--config", "hub.toml"];
    refused(dir.path(), &serve, 2, "`hub.toml` cannot be read").await;
    fs::write(dir.path().join("hub.toml"), "listen = '127.0.0.1:0'\nbackend_url = 'x'").unwrap();
    refused(dir.path(), &serve, 2, "in `hub.toml`").await;
    refused(dir.path(), &serve, 2, "unknown field `backend_url`").await;
    fs::write(dir.path().join("tavern.toml"), "listen = 5").unwrap();
    refused(dir.path(), &["serve"], 2, "in `tavern.toml`").await;
}
