//! Connections that are idle, dead, or only slow.

use std::time::Duration;

use tavern_backend::{Error, ReadQuery};
use tavern_testkit::Client;
use tavern_testkit::engine::PostgresOptions;
use tavern_testkit::publish;
use tavern_testkit::say::message;
use tavern_testkit::wait::{eventually, within};

use crate::relay::Relay;
use crate::stand::{Stand, store, until};

/// Nothing happens for longer than the server lets anybody be idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_node_outlives_idle_session_timeout() {
    let options = PostgresOptions::new().with_setting("idle_session_timeout", "600ms");
    let stand = Stand::start_with(options).await.with(|config| {
        config.poll_interval = Duration::from_secs(3600);
        config.outbox_interval = Duration::from_secs(3600);
        config.sweep_interval = Duration::from_secs(3600);
    });
    let bus = stand.bus().await;
    until("its connections are older than that", || async {
        let old = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tavern-%'
            AND backend_start < clock_timestamp() - interval '3 seconds'";
        stand.psql(old).await == "4"
    })
    .await;
    assert_eq!(bus.health().get().connects, 1, "the link is the same");
    store(&bus, message("t", "1")).await;
    bus.close().await.unwrap();
}

/// What is in between has forgotten the connection that listens: no end of it hears of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doorbell_that_is_cut_in_silence_is_noticed() {
    // Often enough for a test.
    let options = PostgresOptions::new().with_setting("idle_session_timeout", "1500ms");
    let stand = Stand::start_with(options).await;
    let port = stand.server.port();
    let relay = Relay::start(move |_| port).await;
    let url = relay.url();
    let heard = stand.with(move |config| {
        config.listen_url = Some(url.clone());
        config.timeout = Duration::from_secs(1);
        config.poll_interval = Duration::from_secs(3600);
    });
    let stage = heard.stage();
    let (one, two) = (stage.node().await, stage.node().await);
    let brokers = [one.broker(), two.broker()];
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    relay.hush();
    for node in [&one, &two] {
        let health = node.bus().health();
        eventually("the link is another one", || {
            let now = health.get();
            now.up && now.connects > 1
        })
        .await;
    }
    publish(&brokers[0], message("t", "1")).await;
    assert_eq!(client.texts(1).await, ["1"], "it rings again");
    stage.close().await;
}

/// Somebody locks a table: pages fail, and so does what would be removed. The link is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_takes_too_long_is_no_lost_link() {
    let stand = Stand::start().await.with(|config| config.timeout = Duration::from_secs(2));
    let bus = stand.bus().await;
    store(&bus, message("t", "1")).await;
    let holder = stand.sql().await;
    holder.run("BEGIN; LOCK TABLE tavern.lane IN ACCESS EXCLUSIVE MODE").await;
    let read = || within("a page", bus.read(ReadQuery::range(0, u64::MAX)));
    // More than are read at once.
    for page in futures_util::future::join_all((0..6).map(|_| read())).await {
        let error = page.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
    holder.run("COMMIT").await;
    until("pages are read again", || async { read().await.is_ok_and(|p| p.entries.len() == 1) })
        .await;
    let health = bus.health().get();
    assert!(health.up && health.connects == 1, "{health:?}");
    bus.close().await.unwrap();
}
