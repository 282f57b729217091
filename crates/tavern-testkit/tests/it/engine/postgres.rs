//! Postgres servers do what tests need of them.

use std::sync::atomic::{AtomicU32, Ordering};

use tavern_testkit::engine::{PostgresOptions, PostgresServer};
use tavern_testkit::wait::within;

async fn start() -> PostgresServer {
    PostgresServer::start(PostgresOptions::new()).await.unwrap()
}

async fn make_table(server: &PostgresServer) {
    server.psql("CREATE TABLE t (n bigint PRIMARY KEY, filler text)").await.unwrap();
}

/// How many rows there are, and the highest number.
async fn tail(server: &PostgresServer) -> (u64, u64) {
    let text = server.psql("SELECT count(*), coalesce(max(n), 0) FROM t").await.unwrap();
    let (count, max) = text.split_once('|').unwrap();
    (count.parse().unwrap(), max.parse().unwrap())
}

#[tokio::test]
async fn kill_keeps_what_was_committed() {
    let server = start().await;
    let url = server.url("postgres", "postgres");
    make_table(&server).await;
    server.psql("INSERT INTO t SELECT generate_series(1, 100)").await.unwrap();
    // Nobody who waits for a client to hang up sees how its server ends.
    let busy = server.psql("SELECT count(*) FROM generate_series(1, 1e12::bigint)");
    let mut busy = Box::pin(busy);
    let works = server.psql(
        "DO $$ BEGIN WHILE (SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%1e12%') < 2
         LOOP PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; END $$",
    );
    tokio::select! {
        result = &mut busy => panic!("{result:?}"),
        result = within("a busy client", works) => result.unwrap(),
    };
    server.kill().await.unwrap();
    within("the server to hang up", busy).await.unwrap_err();
    assert!(!server.is_running());
    assert!(server.psql("SELECT 1").await.is_err(), "it answers");
    server.start_again().await.unwrap();
    assert_eq!(tail(&server).await, (100, 100));
    assert_eq!(server.url("postgres", "postgres"), url);
    assert_eq!(server.psql_at(&url, "SELECT 1").await.unwrap(), "1");
}

#[tokio::test]
async fn rewind_loses_the_tail() {
    let server = start().await;
    make_table(&server).await;
    server.psql("INSERT INTO t SELECT generate_series(1, 100)").await.unwrap();
    server.save_snapshot().await.unwrap();
    server.psql("INSERT INTO t SELECT generate_series(101, 150)").await.unwrap();
    for again in 0..2 {
        server.rewind().await.unwrap();
        assert_eq!(tail(&server).await, (100, 100), "{again}");
        server.psql("INSERT INTO t VALUES (101)").await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_under_load_has_all_that_was_committed_before_and_nothing_torn() {
    let server = start().await;
    make_table(&server).await;
    server.psql("CREATE TABLE last (n bigint); INSERT INTO last VALUES (0)").await.unwrap();
    for round in 0..3_u64 {
        let base = tail(&server).await.1;
        let committed = AtomicU32::new(0);
        // Each row with what it adds up to, and many pages written beside the log.
        let load = async {
            for n in base + 1.. {
                let sql = format!(
                    "BEGIN; INSERT INTO t VALUES ({n}, repeat('x', 5000)); UPDATE last SET n = {n};
                     COMMIT; CHECKPOINT"
                );
                server.psql(&sql).await.unwrap();
                committed.fetch_add(1, Ordering::Relaxed);
            }
        };
        let saved = async {
            while committed.load(Ordering::Relaxed) < 5 {
                tokio::task::yield_now().await;
            }
            let before = base + u64::from(committed.load(Ordering::Relaxed));
            server.save_snapshot().await.unwrap();
            before
        };
        let before = tokio::select! {
            () = load => unreachable!("it has no end"),
            before = saved => before,
        };
        server.psql("INSERT INTO t VALUES (1000000)").await.unwrap();
        server.rewind().await.unwrap();
        let (count, max) = tail(&server).await;
        assert_eq!(count, max, "{round}");
        assert!((before..=before + 1).contains(&max), "{round}: {before} {max}");
        let last = server.psql("SELECT n FROM last").await.unwrap();
        assert_eq!(last, max.to_string(), "{round}");
    }
}
