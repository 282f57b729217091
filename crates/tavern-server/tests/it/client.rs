//! `tavern publish` and `tavern subscribe`.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::kit::{Node, empty, lines, next, refused, run, tavern, until, within};

#[tokio::test]
async fn what_is_published_is_printed_by_a_subscriber() {
    let dir = empty();
    let node = Node::start(dir.path(), &[]).await;
    let dir = dir.path();
    let mut subscriber = tavern(dir)
        .args(["subscribe", "orders/*", "news", "--json", "--url", &node.url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = lines(&mut subscriber);
    let mut object =
        async || -> Value { serde_json::from_str(&next(&mut printed).await.unwrap()).unwrap() };
    assert_eq!(object().await["event"], "tavern-cursor");

    let publish = ["publish", "orders/7", "two\nlines", "--event", "paid", "--id", "inv 1"];
    let publish: Vec<_> = publish.into_iter().chain(["--ttl", "1m", "--url", &node.url]).collect();
    let output = run(dir, &publish).await;
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let cursor = said.strip_prefix("stored ").unwrap().trim_end();
    let message = object().await;
    assert_eq!(message["id"], format!("{cursor}~inv 1"));
    assert_eq!((&message["event"], &message["data"]), (&"paid".into(), &"two\nlines".into()));

    let again = String::from_utf8(run(dir, &publish).await.stdout).unwrap();
    assert_eq!(again.trim_end(), format!("duplicate {cursor}"));
}

#[tokio::test]
async fn data_can_come_from_standard_input() {
    let dir = empty();
    let node = Node::start(dir.path(), &[]).await;
    let mut stream = node.stream("orders", "").await;
    stream.opening().await;
    for data in [&["-"][..], &[]] {
        let mut command = tavern(dir.path());
        command.args(["publish", "orders", "--url", &node.url]).args(data);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all("é\n".as_bytes()).await.unwrap();
        assert!(within("its end", child.wait()).await.unwrap().success());
        assert_eq!(stream.message().await.0, "é\n");
    }
}

#[tokio::test]
async fn a_subscriber_comes_back_by_itself_and_misses_nothing() {
    let dir = empty();
    let a = Node::start(dir.path(), &[]).await;
    let mut b = Node::start(dir.path(), &["--retry", "10ms"]).await;
    let mut subscriber = tavern(dir.path())
        .args(["subscribe", "orders", "--url", &b.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = lines(&mut subscriber);
    let mut said = BufReader::new(subscriber.stderr.take().unwrap()).lines();
    // Whether it stands already is not said, so the first message is repeated until it is heard.
    let first = async {
        loop {
            a.post("orders", "begin").await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = first => {}
        line = next(&mut printed) => assert_eq!(line.as_deref(), Some("begin")),
    }
    a.post("orders", "1").await;
    until(&mut printed, "1").await;
    b.kill().await;
    until(&mut said, "coming back").await;
    a.post("orders", "2").await;
    let _b = b.again(dir.path()).await;
    assert_eq!(next(&mut printed).await.as_deref(), Some("2"));
    let end = until(&mut said, "tavern-reconnected").await;
    assert!(end.contains(r#""complete":true"#), "{end}");
    a.post("orders", "3").await;
    assert_eq!(next(&mut printed).await.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_subscriber_can_begin_behind_an_id() {
    let dir = empty();
    let node = Node::start(dir.path(), &[]).await;
    let id = node.post("orders", "1").await;
    node.post("orders", "2").await;
    let mut subscriber = tavern(dir.path())
        .args(["subscribe", "orders", "--last-event-id", &id, "--url", &node.url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(next(&mut lines(&mut subscriber)).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn scopes_are_kept_apart() {
    let dir = empty();
    let node = Node::start(dir.path(), &[]).await;
    let mut subscriber = tavern(dir.path())
        .args(["subscribe", "notes", "--scope", "alice", "--json", "--url", &node.url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = lines(&mut subscriber);
    until(&mut printed, "tavern-cursor").await;
    for (scope, data) in [("bob", "bob's"), ("alice", "alice's")] {
        let args = ["publish", "notes", data, "--scope", scope, "--url", &node.url];
        assert!(run(dir.path(), &args).await.status.success());
    }
    assert!(next(&mut printed).await.unwrap().contains("alice's"));
}

#[tokio::test]
async fn mistakes_are_explained() {
    let dir = empty();
    let node = Node::start(dir.path(), &[]).await;
    let url = ["--url", &node.url];
    let check = async |args: &[&str], url: [&str; 2], code, words| {
        let args: Vec<_> = args.iter().copied().chain(url).collect();
        refused(dir.path(), &args, code, words).await;
    };
    check(&["publish", "a//b", "x"], url, 2, "a segment between slashes is empty").await;
    check(&["publish", "a", "x", "--event", "tavern-x"], url, 2, "reserved").await;
    check(&["publish", "$a", "x"], url, 1, "invalid topic").await;
    check(&["subscribe", "a//b"], url, 1, "a segment between slashes is empty").await;
    check(&["subscribe"], url, 2, "TOPIC").await;
    let closed = ["--url", "http://127.0.0.1:9"];
    check(&["publish", "a", "x"], closed, 1, "the hub does not answer").await;
    check(&["publish", "a", "x"], ["--url", "https://x"], 2, "has no TLS").await;
    check(&["publish", "a", "x"], ["--url", "localhost:8080"], 2, "http://127.0.0.1:8080").await;
    // Another path of the hub is no hub's address.
    let elsewhere = format!("{}/status", node.url);
    check(&["subscribe", "a"], ["--url", &elsewhere], 1, "404").await;
}
