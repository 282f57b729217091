//! Pairs lose what their replica did not get, and nothing else.

use tavern_testkit::engine::{PostgresOptions, PostgresPair};

async fn start() -> PostgresPair {
    let pair = PostgresPair::start(PostgresOptions::new().without_fsync()).await.unwrap();
    write(&pair, "CREATE TABLE t (n bigint)").await;
    pair.other().wait_synced(pair.primary()).await.unwrap();
    pair
}

/// Runs this at the address that leads to the primary.
async fn write(pair: &PostgresPair, sql: &str) -> String {
    pair.primary().psql_at(&pair.url("postgres", "postgres"), sql).await.unwrap()
}

async fn rows(pair: &PostgresPair) -> String {
    write(pair, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM t").await
}

#[tokio::test]
async fn a_failover_to_a_replica_in_step_loses_nothing() {
    let pair = start().await;
    write(&pair, "INSERT INTO t VALUES (1)").await;
    pair.other().wait_synced(pair.primary()).await.unwrap();
    assert!(pair.other().is_replica().await.unwrap());
    assert_eq!(pair.other().psql("SELECT n FROM t").await.unwrap(), "1");
    let (first, both) = (pair.primary().port(), pair.url_of_both("postgres", "postgres"));
    let who = "SHOW port";
    assert_eq!(pair.primary().psql_at(&both, who).await.unwrap(), first.to_string());
    let url = pair.url("postgres", "postgres");
    let held = pair.primary().psql_at(&url, "SELECT pg_sleep(100)");
    let fail = async {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while pair.primary().psql(asleep).await.unwrap() != "1" {}
        // Alive: only the address cuts its clients.
        pair.promote().await.unwrap();
    };
    let (held, ()) = tokio::join!(held, fail);
    held.unwrap_err();
    let second = pair.primary().port();
    assert_ne!(first, second);
    assert_eq!(write(&pair, who).await, second.to_string());
    write(&pair, "INSERT INTO t VALUES (2)").await;
    assert_eq!(rows(&pair).await, "1 2");
    // Both take writes, until one is dead.
    pair.other().psql("INSERT INTO t VALUES (3)").await.unwrap();
    pair.other().kill().await.unwrap();
    assert_eq!(pair.primary().psql_at(&both, who).await.unwrap(), second.to_string());
    pair.rejoin().await.unwrap();
    assert!(pair.other().is_replica().await.unwrap());
    pair.fail_over().await.unwrap();
    assert_eq!(write(&pair, who).await, first.to_string());
    assert_eq!(rows(&pair).await, "1 2");
}

#[tokio::test]
async fn a_replica_that_was_cut_off_loses_the_tail() {
    let pair = start().await;
    write(&pair, "INSERT INTO t VALUES (1)").await;
    pair.other().wait_synced(pair.primary()).await.unwrap();
    pair.other().cut_replication().await.unwrap();
    write(&pair, "INSERT INTO t VALUES (2)").await;
    pair.other().mend_replication().await.unwrap();
    pair.other().wait_synced(pair.primary()).await.unwrap();
    pair.other().cut_replication().await.unwrap();
    write(&pair, "INSERT INTO t VALUES (3)").await;
    pair.fail_over().await.unwrap();
    write(&pair, "INSERT INTO t VALUES (4)").await;
    assert_eq!(rows(&pair).await, "1 2 4");
    // Whoever is made of one that was cut off follows it all the same.
    pair.rejoin().await.unwrap();
    write(&pair, "INSERT INTO t VALUES (5)").await;
    pair.other().wait_synced(pair.primary()).await.unwrap();
}

#[tokio::test]
async fn a_replica_that_lags_shows_less_and_loses_nothing() {
    let pair = start().await;
    pair.other().pause_replay().await.unwrap();
    write(&pair, "INSERT INTO t VALUES (1)").await;
    let got = pair.primary().psql("SELECT pg_current_wal_flush_lsn()").await.unwrap();
    let has = format!("SELECT pg_last_wal_receive_lsn() >= '{got}'");
    while pair.other().psql(&has).await.unwrap() != "t" {}
    let shown = "SELECT count(*) FROM t";
    assert_eq!(pair.other().psql(shown).await.unwrap(), "0");
    pair.other().resume_replay().await.unwrap();
    pair.other().wait_synced(pair.primary()).await.unwrap();
    assert_eq!(pair.other().psql(shown).await.unwrap(), "1");
    pair.other().pause_replay().await.unwrap();
    write(&pair, "INSERT INTO t VALUES (2)").await;
    pair.primary().terminate().await.unwrap();
    pair.promote().await.unwrap();
    assert_eq!(rows(&pair).await, "1 2");
}
