//! A server that hurts: what it cuts, refuses and forgets, while two nodes publish and listen.

mod doubt;
mod failover;
mod pool;
mod relaxed;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tavern_backend::Error;
use tavern_testkit::say::message;
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, a_stream_survives, publish};

use crate::stand::{Stand, sql, until};

/// Messages that each of two nodes publishes while the server is hurt.
const PUBLISHED: u64 = 400;

/// One of them, whichever it is, and now and then all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_connections_lose_nothing() {
    let stand = Stand::start().await;
    let (killed, turn) = (AtomicU64::new(0), AtomicU64::new(0));
    a_stream_survives(stand.stage(), PUBLISHED, 10, async |_| {
        let all = turn.fetch_add(1, Ordering::Relaxed) % 4 == 3;
        let gone = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
            WHERE application_name LIKE 'tavern-%' ORDER BY random() LIMIT {}) x",
            if all { 100 } else { 1 }
        );
        until("one is there", || async {
            let n: u64 = stand.psql(&gone).await.parse().unwrap();
            killed.fetch_add(n, Ordering::Relaxed);
            n > 0
        })
        .await;
    })
    .await;
    assert!(killed.into_inner() >= 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_and_restarted_server_loses_nothing() {
    let stand = Stand::start().await;
    a_stream_survives(stand.stage(), PUBLISHED, 2, async |_| {
        stand.server.kill().await.unwrap();
        stand.server.start_again().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_is_waited_for() {
    let stand = Stand::start().await.with(|config| config.timeout = Duration::from_millis(500));
    a_stream_survives(stand.stage(), PUBLISHED, 2, async |nodes| {
        stand.server.pause().await.unwrap();
        for node in nodes.each_ref().map(|node| node.bus().health()) {
            eventually("it is noticed", || {
                let now = node.get();
                !now.up && now.reason.is_some_and(|reason| reason.contains("answer in time"))
            })
            .await;
        }
        stand.server.resume().unwrap();
    })
    .await;
}

/// Somebody holds the log's lock for longer than the role's `statement_timeout`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_statement_timeout_is_named_and_loses_nothing() {
    let stand = Stand::start().await;
    stand.psql("ALTER ROLE postgres SET statement_timeout = '150ms'").await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let holder = stand.sql().await;
    holder.run("BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(1952545398, id) FROM tavern.namespace").await;
    let error = within("an answer", node.bus().publish(message("t", "no"))).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("statement_timeout"), "{error}");
    let mut spooled = tokio::task::JoinSet::new();
    spooled.spawn(publish(&broker, message("t", "1")));
    holder.run("SELECT tavern.publish('t', '2'); COMMIT").await;
    within("the spool drains", spooled.join_all()).await;
    let mut got = client.texts(2).await;
    got.sort();
    assert_eq!(got, ["1", "2"]);
    assert_eq!(node.bus().health().get().connects, 1, "the link is the same");
    stage.close().await;
}

/// It is down, says why, and does not come and go; what is published meanwhile comes afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_is_said_and_waited_for() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    let app = sql(&stand.server.url("postgres", "postgres")).await;
    app.run("ALTER SYSTEM SET default_transaction_read_only = on").await;
    app.run("SELECT pg_reload_conf()").await;
    let mut spooled = tokio::task::JoinSet::new();
    until("it is noticed", || async {
        // What was begun before it took effect is stored.
        node.bus().publish(message("other", "x")).await.is_err()
    })
    .await;
    let health = node.bus().health();
    eventually("it says why", || {
        let now = health.get();
        !now.up && now.reason.is_some_and(|reason| reason.contains("read-only"))
    })
    .await;
    spooled.spawn(publish(&broker, message("t", "2")));
    let connects = health.get().connects;
    // Many attempts to connect.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(health.get().connects, connects, "it does not come and go");
    app.run("SET default_transaction_read_only = off").await;
    app.run("ALTER SYSTEM RESET default_transaction_read_only").await;
    app.run("SELECT pg_reload_conf()").await;
    within("the spool drains", spooled.join_all()).await;
    assert_eq!(client.texts(2).await, ["1", "2"]);
    stage.close().await;
}
