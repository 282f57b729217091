//! The engines that the testkit spawns do what tests need of them.

mod fleet;
mod nats;
mod postgres;

use std::time::Duration;

use tavern_testkit::engine::{Flavor, RedisOptions, RedisServer};
use tavern_testkit::wait::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const FLAVORS: [Flavor; 2] = [Flavor::Redis, Flavor::Valkey];

async fn get(server: &RedisServer, key: &str) -> String {
    server.cli(&["GET", key]).await.unwrap().text()
}

async fn set(server: &RedisServer, key: &str, value: &str) {
    server.cli(&["SET", key, value]).await.unwrap();
}

/// Waits until the server says this in its log.
async fn logged(server: &RedisServer, text: &str) {
    let log = server.dir().join("server.log");
    while !std::fs::read_to_string(&log).unwrap().contains(text) {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test]
async fn kill_keeps_what_was_acknowledged() {
    for flavor in FLAVORS {
        let server = RedisServer::start(RedisOptions::new(flavor).with_appendonly()).await.unwrap();
        let (url, run) = (server.url(), server.run_id().await.unwrap());
        let mut conn = server.connect().await.unwrap();
        for n in 1..=100 {
            conn.call(&["SET", "n", &n.to_string()]).await.unwrap();
        }
        server.kill().await.unwrap();
        assert!(conn.receive().await.is_err(), "{flavor:?}: the connection survived");
        assert!(server.cli(&["PING"]).await.is_err(), "{flavor:?}: it answers");
        server.start_again().await.unwrap();
        assert_eq!(get(&server, "n").await, "100", "{flavor:?}");
        assert_eq!(server.url(), url, "{flavor:?}");
        assert_ne!(server.run_id().await.unwrap(), run, "{flavor:?}");
    }
}

#[tokio::test]
async fn a_server_keeps_nothing_unless_asked() {
    for flavor in FLAVORS {
        let server = RedisServer::start(RedisOptions::new(flavor)).await.unwrap();
        set(&server, "a", "1").await;
        server.save_snapshot().await.unwrap();
        server.terminate().await.unwrap();
        server.start_again().await.unwrap();
        assert_eq!(server.cli(&["DBSIZE"]).await.unwrap().int(), Some(0), "{flavor:?}");
    }
}

#[tokio::test]
async fn rewind_loses_the_tail() {
    for flavor in FLAVORS {
        for options in [RedisOptions::new(flavor), RedisOptions::new(flavor).with_appendonly()] {
            let server = RedisServer::start(options).await.unwrap();
            let run = server.run_id().await.unwrap();
            set(&server, "kept", "1").await;
            server.save_snapshot().await.unwrap();
            set(&server, "lost", "1").await;
            server.rewind().await.unwrap();
            assert_eq!(get(&server, "kept").await, "1", "{server:?}");
            assert_eq!(get(&server, "lost").await, "", "{server:?}");
            assert_ne!(server.run_id().await.unwrap(), run, "{server:?}");

            set(&server, "after", "1").await;
            server.kill().await.unwrap();
            server.start_again().await.unwrap();
            let kept = if server.options().appendonly { "1" } else { "" };
            assert_eq!(get(&server, "kept").await, kept, "{server:?}");
            assert_eq!(get(&server, "after").await, kept, "{server:?}");
        }
    }
}

#[tokio::test]
async fn a_paused_server_answers_when_it_goes_on() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let mut conn = server.connect().await.unwrap();
    server.pause().unwrap();
    conn.send(&["PING"]).await.unwrap();
    assert!(timeout(Duration::from_millis(200), conn.receive()).await.is_err(), "it answers");
    server.resume().unwrap();
    let mut conn = server.connect().await.unwrap();
    assert_eq!(conn.call(&["PING"]).await.unwrap().text(), "PONG");
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let (addr, dir) = (server.addr(), server.dir().to_owned());
    server.pause().unwrap();
    drop(server);
    assert!(std::net::TcpStream::connect(addr).is_err());
    assert!(!dir.exists());
}

#[tokio::test]
async fn users_and_tls_are_asked_for() {
    let options = RedisOptions::default().with_user("anna", "secret").with_tls();
    let server = RedisServer::start(options).await.unwrap();
    let mut stranger = TcpStream::connect(server.addr()).await.unwrap();
    stranger.write_all(b"PING\r\n").await.unwrap();
    let mut answer = [0; 7];
    stranger.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"-NOAUTH");
    assert_eq!(server.url(), format!("redis://anna:secret@{}", server.addr()));
    let mut anna = server.connect().await.unwrap();
    assert_eq!(anna.call(&["AUTH", "anna", "secret"]).await.unwrap().text(), "OK");

    // Whether the certificates fit together is seen by a client that checks them.
    let ca = server.dir().join("ca.pem");
    assert_eq!(std::fs::read_to_string(&ca).unwrap(), server.ca_pem().unwrap());
    let at = server.tls_url().rsplit_once(':').unwrap().1.to_owned();
    let mut cli = tokio::process::Command::new("redis-cli");
    cli.args(["--tls", "-p", &at, "--user", "anna", "--pass", "secret", "--cacert"]).arg(&ca);
    let output = cli.args(["PING"]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "PONG", "{output:?}");
}

#[tokio::test]
async fn a_replica_that_was_cut_off_is_promoted_without_the_tail() {
    for flavor in FLAVORS {
        let primary = RedisServer::start(RedisOptions::new(flavor)).await.unwrap();
        set(&primary, "kept", "1").await;
        let replica = RedisServer::replica_of(&primary).await.unwrap();
        set(&primary, "late", "1").await;
        replica.wait_synced().await.unwrap();
        assert_eq!(get(&replica, "late").await, "1", "{flavor:?}");
        assert!(replica.cli(&["SET", "a", "1"]).await.is_err(), "{flavor:?}: it takes writes");

        primary.cut_replication().await.unwrap();
        set(&primary, "lost", "1").await;
        within("the replica to ask and be refused", logged(&replica, "NOPERM")).await;
        replica.promote().await.unwrap();
        assert_eq!(get(&replica, "late").await, "1", "{flavor:?}");
        assert_eq!(get(&replica, "lost").await, "", "{flavor:?}");
        set(&replica, "new", "1").await;

        primary.mend_replication().await.unwrap();
        primary.follow(&replica).await.unwrap();
        primary.wait_synced().await.unwrap();
        assert_eq!(get(&primary, "new").await, "1", "{flavor:?}");
        assert_eq!(get(&primary, "lost").await, "", "{flavor:?}");
    }
}

#[tokio::test]
async fn a_replica_is_one_after_a_start_too() {
    let primary = RedisServer::start(RedisOptions::default()).await.unwrap();
    let replica = RedisServer::replica_of(&primary).await.unwrap();
    replica.kill().await.unwrap();
    set(&primary, "a", "1").await;
    replica.start_again().await.unwrap();
    replica.wait_synced().await.unwrap();
    assert_eq!(get(&replica, "a").await, "1");
}

#[tokio::test]
async fn a_port_that_is_taken_meanwhile_is_waited_for() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    server.kill().await.unwrap();
    let taken = std::net::TcpListener::bind(server.addr()).unwrap();
    let free = async {
        within("the server to fail", logged(&server, "already in use")).await;
        drop(taken);
    };
    let (start, ()) = tokio::join!(server.start_again(), free);
    start.unwrap();
    assert_eq!(server.cli(&["PING"]).await.unwrap().text(), "PONG");
}

#[tokio::test]
async fn a_server_says_that_it_loads() {
    let options = RedisOptions::default()
        .with_config("save 3600 1")
        .with_config("key-load-delay 200")
        .with_config("loading-process-events-interval-bytes 1024");
    let server = RedisServer::start(options).await.unwrap();
    let fill = "for n = 1, 3000 do redis.call('SET', n, n) end";
    server.cli(&["EVAL", fill, "0"]).await.unwrap();
    server.terminate().await.unwrap();
    server.start_loading().await.unwrap();
    let error = server.cli(&["GET", "1"]).await.unwrap_err().to_string();
    assert!(error.starts_with("LOADING"), "{error}");
    server.wait_loaded().await.unwrap();
    assert_eq!(get(&server, "3000").await, "3000");
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let options = RedisOptions::default().with_config("no-such-setting 1");
    let error = RedisServer::start(options).await.unwrap_err().to_string();
    assert!(error.contains("no-such-setting"), "{error}");
}
