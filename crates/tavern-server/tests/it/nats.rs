//! Hubs on NATS: what a user sees of it.

use std::process::Stdio;

use tavern_testkit::engine::{NatsAuth, NatsFlavor, NatsOptions, NatsServer};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStderr;

use crate::kit::{Node, empty, refused, tavern, until, within};

const FLAVORS: [NatsFlavor; 2] = [NatsFlavor::Debian, NatsFlavor::Current];

async fn server(flavor: NatsFlavor) -> NatsServer {
    let auth = NatsAuth::Token("hunter2".to_owned());
    NatsServer::start(NatsOptions::new(flavor).with_auth(auth)).await.unwrap()
}

/// A hub, and what it logs.
async fn hub(server: &NatsServer) -> (Node, Lines<BufReader<ChildStderr>>) {
    let dir = empty();
    let mut command = tavern(dir.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--backend", &server.url()]);
    let mut node = Node::of({
        command.stderr(Stdio::piped());
        command
    })
    .await;
    let log = BufReader::new(node.child.stderr.take().unwrap()).lines();
    (node, log)
}

#[tokio::test]
async fn two_hubs_on_one_server_are_a_cluster() {
    for flavor in FLAVORS {
        let server = server(flavor).await;
        let ((a, mut log), (b, _)) = (hub(&server).await, hub(&server).await);
        let mut stream = b.stream("orders", "").await;
        let opening = stream.opening().await;
        let first = a.post("orders", "1").await;
        assert_eq!(stream.message().await, ("1".to_owned(), first.clone()));
        let mut back = a.stream("orders", &opening).await;
        assert_eq!(back.message().await, ("1".to_owned(), first));

        let (of_a, of_b) = (a.json("/status").await, b.json("/status").await);
        assert_eq!(of_a["epoch"], of_b["epoch"]);
        assert_ne!(of_a["node"], of_b["node"]);
        let backend = &of_a["backend"];
        assert_eq!(backend["name"], "nats");
        assert_eq!(backend["location"], format!("nats://{}", server.addr()));
        assert!(backend["durability"].as_str().unwrap().contains("one server's files"));
        let metrics = a.get("/metrics").await.text().await.unwrap();
        assert!(metrics.contains(r#"backend="nats""#), "{metrics}");
        assert!(metrics.contains("tavern_backend_up 1\n"), "{metrics}");

        // What it says at its start, and nowhere the token.
        let listening = until(&mut log, "tavern::_events::listening").await;
        assert!(listening.contains(&server.addr()), "{listening}");
        for text in [listening, of_a.to_string(), metrics] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

#[tokio::test]
async fn streams_outlive_the_death_of_the_server() {
    for flavor in FLAVORS {
        let server = server(flavor).await;
        let ((a, mut log), (b, _)) = (hub(&server).await, hub(&server).await);
        let mut stream = b.stream("orders", "").await;
        stream.opening().await;
        let before = a.post("orders", "1").await;
        assert_eq!(stream.message().await.0, "1");

        server.kill().await.unwrap();
        stream.event("tavern-degraded").await;
        until(&mut log, "the link to the server is lost").await;
        let ready = || async { a.get("/readyz").await.status() };
        within("it is not ready", async {
            while ready().await != 503 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let metrics = a.get("/metrics").await.text().await.unwrap();
        assert!(metrics.contains("tavern_backend_up 0\n"), "{metrics}");
        let status = a.json("/status").await;
        assert!(!status.to_string().contains("hunter2"), "{status}");

        server.start_again().await.unwrap();
        stream.event("tavern-recovered").await;
        within("it is ready", async {
            while ready().await != 200 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let id = a.post("orders", "2").await;
        assert_eq!(stream.message().await, ("2".to_owned(), id));
        let mut back = a.stream("orders", &before).await;
        assert_eq!(back.message().await.0, "2");
        let end = back.event("tavern-reconnected").await.data;
        assert!(end.contains(r#""complete":true"#), "{end}");

        drop(a);
        let mut rest = String::new();
        while let Some(line) = within("the end of the log", log.next_line()).await.unwrap() {
            assert!(!line.contains("ERROR"), "{line}");
            rest.push_str(&line);
        }
        assert!(!rest.contains("async_nats") && !rest.contains("hunter2"), "{rest}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_said() {
    let dir = empty();
    let serve =
        |url: &str| ["serve", "--listen", "127.0.0.1:0", "--backend", url].map(str::to_owned);
    let check = async |url: String, words: &str| {
        let args = serve(&url);
        refused(dir.path(), &args.each_ref().map(String::as_str), 1, words).await;
    };
    let server = server(NatsFlavor::Debian).await;
    check(format!("nats://wrong@{}", server.addr()), "it refuses the credentials").await;
    let options = NatsOptions::default().without_jetstream();
    let plain = NatsServer::start(options).await.unwrap();
    check(plain.url(), "JetStream is not enabled").await;
    plain.terminate().await.unwrap();
    check(plain.url(), "cannot be reached").await;
}
