//! NATS servers do what tests need of them.

mod conn;
mod doors;
mod fleet;
mod orphan;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tavern_testkit::engine::{NatsConn, NatsFlavor, NatsOptions, NatsServer};
use tavern_testkit::wait::within;
use tokio::time::timeout;

const FLAVORS: [NatsFlavor; 2] = [NatsFlavor::Debian, NatsFlavor::Current];

/// Makes a stream `S` of all subjects `s.>`.
async fn make_stream(server: &NatsServer) {
    let config = json!({ "name": "S", "subjects": ["s.>"] });
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

/// The number of the last message of a stream.
async fn last(server: &NatsServer, stream: &str) -> u64 {
    let info = server.js(&format!("STREAM.INFO.{stream}"), Value::Null).await.unwrap();
    info["state"]["last_seq"].as_u64().unwrap()
}

/// What tells this run from the next.
async fn run_id(server: &NatsServer) -> String {
    server.connect().await.unwrap().info()["server_id"].to_string()
}

#[tokio::test]
async fn kill_keeps_what_was_acknowledged() {
    for flavor in FLAVORS {
        let server = NatsServer::start(flavor).await.unwrap();
        let (url, run) = (server.url(), run_id(&server).await);
        make_stream(&server).await;
        let mut conn = server.connect().await.unwrap();
        fill(&server, 100).await;
        server.kill().await.unwrap();
        let heard = within("the server to hang up", conn.next()).await;
        assert!(heard.is_err(), "{flavor:?}: the connection survived");
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
        let server = NatsServer::start(flavor).await.unwrap();
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

#[tokio::test]
async fn a_snapshot_under_load_has_all_that_was_acknowledged_before_and_nothing_else() {
    for flavor in FLAVORS {
        let server = NatsServer::start(flavor).await.unwrap();
        make_stream(&server).await;
        for round in 0..5 {
            let mut conn = server.connect().await.unwrap();
            let inbox = conn.subscribe("answers.>").await.unwrap();
            // The acknowledgements of what was stored before the snapshot was asked for.
            let before = burst(&mut conn, inbox, 300).await;
            let (saved, after) =
                tokio::join!(server.save_snapshot(), burst(&mut conn, inbox, 3_000));
            saved.unwrap();
            server.rewind().await.unwrap();
            let (messages, last) = tail(&server).await;
            assert_eq!(messages, last, "{flavor:?} {round}");
            assert!(
                (before..=after).contains(&last),
                "{flavor:?} {round}: {before} {last} {after}"
            );
            let wanted = json!({ "seq": last });
            server.js("STREAM.MSG.GET.S", wanted).await.unwrap();
            fill(&server, 1).await;
            assert_eq!(tail(&server).await, (last + 1, last + 1), "{flavor:?} {round}");
        }
    }
}

/// Stores so many messages without waiting for each. Returns the number of the last.
async fn burst(conn: &mut NatsConn, inbox: u64, count: u64) -> u64 {
    for n in 0..count {
        conn.publish_with("s.a", Some("answers.a"), &[], n.to_string().as_bytes()).await.unwrap();
    }
    let mut last = 0;
    for _ in 0..count {
        let message = conn.next().await.unwrap();
        assert_eq!(message.subscription, inbox);
        let answer: Value = serde_json::from_slice(&message.payload).unwrap();
        last = answer["seq"].as_u64().unwrap();
    }
    last
}

#[tokio::test]
async fn a_snapshot_is_of_one_moment() {
    for flavor in FLAVORS {
        let server = NatsServer::start(flavor).await.unwrap();
        let mut conn = server.connect().await.unwrap();
        for name in ["A", "B"] {
            let config = json!({ "name": name, "subjects": [name] });
            conn.js(&format!("STREAM.CREATE.{name}"), config).await.unwrap();
            // So much that the copy takes a while.
            for _ in 0..200 {
                conn.store(name, &[], vec![b'x'; 100_000]).await.unwrap();
            }
        }
        let saved = AtomicBool::new(false);
        let save = async {
            server.save_snapshot().await.unwrap();
            saved.store(true, Ordering::Relaxed);
        };
        let alternate = async {
            while !saved.load(Ordering::Relaxed) {
                conn.store("A", &[], "").await.unwrap();
                conn.store("B", &[], "").await.unwrap();
            }
        };
        tokio::join!(save, alternate);
        server.rewind().await.unwrap();
        let [a, b] = [last(&server, "A").await, last(&server, "B").await];
        assert!(a == b || a == b + 1, "{flavor:?}: {a} {b}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_put_back_too() {
    for flavor in FLAVORS {
        let server = NatsServer::start(flavor).await.unwrap();
        assert!(server.rewind().await.is_err(), "{flavor:?}: there is no snapshot");
        server.start_again().await.unwrap();
        make_stream(&server).await;
        server.terminate().await.unwrap();
        server.save_snapshot().await.unwrap();
        server.start_again().await.unwrap();
        assert!(server.start_again().await.is_err(), "{flavor:?}: it runs");
        fill(&server, 1).await;
        server.rewind().await.unwrap();
        assert_eq!(tail(&server).await, (0, 0), "{flavor:?}");
    }
}

#[tokio::test]
async fn a_paused_server_answers_when_it_goes_on() {
    for flavor in FLAVORS {
        let server = NatsServer::start(flavor).await.unwrap();
        let mut conn = server.connect().await.unwrap();
        server.pause().unwrap();
        conn.send(b"PING\r\n").await.unwrap();
        let answer = timeout(Duration::from_millis(200), conn.flush()).await;
        assert!(answer.is_err(), "{flavor:?}: it answers");
        assert!(server.is_running(), "{flavor:?}");
        server.resume().unwrap();
        let mut conn = server.connect().await.unwrap();
        conn.flush().await.unwrap();
    }
}

#[tokio::test]
async fn a_lame_duck_says_so_and_sends_its_clients_away() {
    for flavor in FLAVORS {
        let options = NatsOptions::new(flavor).with_lame_duck_grace(Duration::from_millis(100));
        let server = NatsServer::start(options).await.unwrap();
        let mut conn = server.connect().await.unwrap();
        server.lame_duck().unwrap();
        let error = within("the server to hang up", conn.next()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{flavor:?}: {error}");
        assert_eq!(conn.info()["ldm"], true, "{flavor:?}");
        within("the server to end", ended(&server)).await;
        server.start_again().await.unwrap();
    }
}

async fn ended(server: &NatsServer) {
    while server.is_running() {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let server = NatsServer::start(NatsOptions::default()).await.unwrap();
    let (addr, dir) = (server.addr(), server.dir().to_owned());
    server.pause().unwrap();
    drop(server);
    assert!(std::net::TcpStream::connect(addr).is_err());
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_port_that_is_taken_meanwhile_is_waited_for() {
    let server = NatsServer::start(NatsOptions::default()).await.unwrap();
    server.kill().await.unwrap();
    let taken = std::net::TcpListener::bind(server.addr()).unwrap();
    let log = server.dir().join("server.log");
    let free = async {
        while !std::fs::read_to_string(&log).unwrap().contains("already in use") {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        drop(taken);
    };
    let (start, ()) = tokio::join!(server.start_again(), within("the server to fail", free));
    start.unwrap();
    server.js("INFO", Value::Null).await.unwrap();
}

#[tokio::test]
async fn limits_are_the_servers() {
    for flavor in FLAVORS {
        let options = NatsOptions::new(flavor).with_max_payload(2_000).with_max_store(10_000);
        let server = NatsServer::start(options).await.unwrap();
        make_stream(&server).await;
        let mut conn = server.connect().await.unwrap();
        assert_eq!(conn.info()["max_payload"], 2_000, "{flavor:?}");
        for _ in 0..5 {
            conn.store("s.a", &[], [b'x'; 1_000]).await.unwrap();
        }
        let mut last = Ok(Value::Null);
        for _ in 0..10 {
            last = conn.store("s.a", &[], [b'x'; 1_000]).await;
        }
        let error = last.unwrap_err().to_string();
        assert!(error.contains("insufficient resources"), "{flavor:?}: {error}");
        conn.publish("a", [b'x'; 2_001]).await.unwrap();
        let error = conn.flush().await.unwrap_err().to_string();
        assert!(error.contains("Maximum Payload"), "{flavor:?}: {error}");
    }
}

#[tokio::test]
async fn monitoring_says_who_is_there() {
    for flavor in FLAVORS {
        let server = NatsServer::start(flavor).await.unwrap();
        make_stream(&server).await;
        let mut conn = server.connect().await.unwrap();
        conn.subscribe("b").await.unwrap();
        let consumer = json!({
            "stream_name": "S",
            "config": { "deliver_subject": "b", "ack_policy": "none" },
        });
        let made = conn.js("CONSUMER.CREATE.S", consumer).await.unwrap();
        assert!(made["name"].is_string(), "{flavor:?}: {made}");
        assert_eq!(server.http("/jsz").await.unwrap()["consumers"], 1, "{flavor:?}");
        assert_eq!(server.http("/connz").await.unwrap()["num_connections"], 1, "{flavor:?}");
        assert!(server.http("/nothing").await.is_err(), "{flavor:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    for flavor in FLAVORS {
        let options = NatsOptions::new(flavor).with_config("no_such_setting: 1");
        let error = NatsServer::start(options).await.unwrap_err().to_string();
        assert!(error.contains("no_such_setting"), "{flavor:?}: {error}");
    }
}
