//! NATS servers do what tests need of them.

use serde_json::{Value, json};
use tavern_testkit::engine::{NatsFlavor, NatsOptions, NatsServer};

const FLAVORS: [NatsFlavor; 2] = [NatsFlavor::Debian, NatsFlavor::Current];

/// Makes a stream `S` of all subjects `s.>`.
async fn make_stream(server: &NatsServer) {
    let config = json!({ "name": "S", "subjects": ["s.>"], "allow_direct": true });
    server.js("STREAM.CREATE.S", config).await.unwrap();
}

/// Stores so many messages, each acknowledged.
async fn fill(server: &NatsServer, count: u64) {
    let mut conn = server.connect().await.unwrap();
    for n in 0..count {
        conn.store("s.a", &[], n.to_string()).await.unwrap();
    }
}

/// How many messages the stream has, and the number of the last.
async fn tail(server: &NatsServer) -> (u64, u64) {
    let info = server.js("STREAM.INFO.S", Value::Null).await.unwrap();
    let number = |name: &str| info["state"][name].as_u64().unwrap();
    (number("messages"), number("last_seq"))
}

/// What tells this run from the next.
async fn run_id(server: &NatsServer) -> String {
    server.connect().await.unwrap().info()["server_id"].to_string()
}

#[tokio::test]
async fn kill_keeps_what_was_acknowledged() {
    for flavor in FLAVORS {
        let server = NatsServer::start(NatsOptions::new(flavor)).await.unwrap();
        let (url, run) = (server.url(), run_id(&server).await);
        make_stream(&server).await;
        let mut conn = server.connect().await.unwrap();
        fill(&server, 100).await;
        server.kill().await.unwrap();
        assert!(conn.next().await.is_err(), "{flavor:?}: the connection survived");
        assert!(server.connect().await.is_err(), "{flavor:?}: it answers");
        server.start_again().await.unwrap();
        assert_eq!(tail(&server).await, (100, 100), "{flavor:?}");
        assert_eq!(server.url(), url, "{flavor:?}");
        assert_ne!(run_id(&server).await, run, "{flavor:?}");
    }
}

#[tokio::test]
async fn rewind_loses_the_tail() {
    for flavor in FLAVORS {
        let server = NatsServer::start(NatsOptions::new(flavor)).await.unwrap();
        make_stream(&server).await;
        let mut client = server.connect().await.unwrap();
        client.subscribe("s.>").await.unwrap();
        fill(&server, 100).await;
        server.save_snapshot().await.unwrap();
        fill(&server, 50).await;
        for _ in 0..150 {
            client.next().await.unwrap();
        }
        client.flush().await.unwrap();
        for again in 0..2 {
            server.rewind().await.unwrap();
            assert_eq!(tail(&server).await, (100, 100), "{flavor:?} {again}");
            let last = json!({ "seq": 100 });
            let last = server.js("STREAM.MSG.GET.S", last).await.unwrap();
            assert_eq!(last["message"]["data"], "OTk=", "{flavor:?} {again}: 99 in base64");
            fill(&server, 1).await;
            assert_eq!(tail(&server).await, (101, 101), "{flavor:?} {again}");
        }
    }
}
