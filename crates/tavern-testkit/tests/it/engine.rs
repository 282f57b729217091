//! The engines that the testkit spawns do what tests need of them.

use tavern_testkit::engine::{Flavor, RedisOptions, RedisServer};

const FLAVORS: [Flavor; 2] = [Flavor::Redis, Flavor::Valkey];

async fn get(server: &RedisServer, key: &str) -> String {
    server.cli(&["GET", key]).await.unwrap().text()
}

async fn set(server: &RedisServer, key: &str, value: &str) {
    server.cli(&["SET", key, value]).await.unwrap();
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
