//! What waits for ever on the server costs a node no more than that.

use std::time::Duration;

use tavern_backend::{Error, Published};
use tavern_testkit::engine::PostgresOptions;
use tavern_testkit::say::message;
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, publish};

use crate::stand::{Stand, sql, store, texts, until};

const OURS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tavern-%'";

/// The standby that commits wait for is gone. Who publishes tries again and again, for which the server
/// keeps what waits: one, not one each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_gone_does_not_take_all_connections() {
    let stand = Stand::start().await.with(|config| config.timeout = Duration::from_millis(700));
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    until("all are there", || async { stand.psql(OURS).await == "5" }).await;
    stand.psql("ALTER SYSTEM SET synchronous_standby_names = 'gone'").await;
    stand.psql("SELECT pg_reload_conf()").await;
    let mut spooled = tokio::task::JoinSet::new();
    spooled.spawn(publish(&broker, message("t", "2")));
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until("it waits for the standby", || async { stand.psql(waits).await == "1" }).await;
    eventually("it gives up", || node.bus().health().get().connects > 1).await;
    // Time enough for some more.
    for _ in 0..50 {
        let ours: usize = stand.psql(OURS).await.parse().unwrap();
        assert!(ours <= 12, "{ours} connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until("those that waited for it have ended", || async {
        stand.psql(OURS).await.parse::<usize>().unwrap() <= 7
    })
    .await;
    assert_eq!(stand.psql(waits).await, "1");
    // Reading goes on.
    within("a look", node.bus().head()).await.unwrap();
    stand.psql("ALTER SYSTEM RESET synchronous_standby_names").await;
    stand.psql("SELECT pg_reload_conf()").await;
    within("it is stored", spooled.join_all()).await;
    assert_eq!(client.texts(2).await, ["1", "2"]);
    assert_eq!(texts(node.bus()).await, ["1", "2"], "once");
    stage.close().await;
}

/// A sweep is in nobody's way, not even where its end is waited for in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_never_ends_costs_no_link() {
    let stand = Stand::start().await.with(|config| {
        config.timeout = Duration::from_millis(700);
        config.retention = Some(crate::stand::keeping(1));
    });
    let bus = stand.bus().await;
    for n in 0..3 {
        store(&bus, message("t", n.to_string())).await;
    }
    until("it sweeps", || async { stand.psql(OURS).await == "5" }).await;
    stand.psql("ALTER SYSTEM SET synchronous_standby_names = 'gone'").await;
    stand.psql("SELECT pg_reload_conf()").await;
    stand
        .psql("SET synchronous_commit = local; UPDATE tavern.entry SET appended = appended - 60000")
        .await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until("the sweep waits for the standby", || async { stand.psql(waits).await == "1" }).await;
    let until_then = tokio::time::Instant::now() + Duration::from_secs(3);
    while tokio::time::Instant::now() < until_then {
        assert_eq!(texts(&bus).await, ["2"]);
        assert_eq!(stand.psql(waits).await, "1");
    }
    let health = bus.health().get();
    assert!(health.up && health.connects == 1, "{health:?}");
    stand.psql("ALTER SYSTEM RESET synchronous_standby_names").await;
    stand.psql("SELECT pg_reload_conf()").await;
    let left = "SELECT count(*) FROM tavern.entry";
    until("it is swept", || async { stand.psql(left).await == "1" }).await;
    bus.close().await.unwrap();
}

/// Any role of the database can hold the lock that appends take. A `lock_timeout` of the node's role is
/// not what decides how long that is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_held_is_waited_for_and_said() {
    let stand = Stand::start().await.with(|config| config.timeout = Duration::from_secs(2));
    stand.psql("ALTER ROLE postgres SET lock_timeout = '10ms'").await;
    let bus = stand.bus().await;
    store(&bus, message("t", "1")).await;
    let holder = sql(&stand.server.url("postgres", "postgres")).await;
    let hold = "SELECT pg_advisory_lock(1952545398, (SELECT id FROM tavern.namespace))";
    holder.run(hold).await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    let (stored, ()) = tokio::join!(store(&bus, message("t", "2")), async {
        until("it waits", || async { stand.psql(waiting).await == "1" }).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        holder.run("SELECT pg_advisory_unlock_all()").await;
    });
    assert_eq!(stored, 2, "longer than the role waits");
    holder.run(hold).await;
    let error = within("an answer", bus.publish(message("t", "3"))).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("pg_locks"), "{error}");
    assert_eq!(stand.psql(waiting).await, "0", "nothing is left behind");
    holder.run("SELECT pg_advisory_unlock_all()").await;
    assert_eq!(store(&bus, message("t", "3")).await, 3);
    let health = bus.health().get();
    assert!(health.up && health.connects == 1, "{health:?}");
    bus.close().await.unwrap();
}

/// A notification would be refused, and with it the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_of_notifications_stops_nothing() {
    let options = PostgresOptions::new().with_setting("allow_system_table_mods", "on");
    let stand = Stand::start_with(options).await;
    let (one, two) = (stand.stage(), stand.stage());
    let (one, node) = (one.node().await, two.node().await);
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    // As far as the server can tell; filling it takes 8 GB.
    let full = "ALTER FUNCTION pg_catalog.pg_notification_queue_usage() RENAME TO was_queue_usage;
        CREATE FUNCTION pg_catalog.pg_notification_queue_usage() RETURNS float8 LANGUAGE sql
            AS 'SELECT 0.99::float8';
        CREATE FUNCTION pg_catalog.refuse() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
            RAISE 'too many notifications in the NOTIFY queue'; END $$;
        ALTER FUNCTION pg_catalog.pg_notify(text, text) RENAME TO was_notify;
        CREATE FUNCTION pg_catalog.pg_notify(text, text) RETURNS void LANGUAGE sql
            AS 'SELECT pg_catalog.refuse()'";
    stand.psql(full).await;
    let stored = within("an answer", one.bus().publish(message("t", "2"))).await.unwrap();
    assert!(matches!(stored, Published::Stored(_)), "{stored:?}");
    assert_eq!(client.texts(2).await, ["1", "2"], "by the poll");
}
