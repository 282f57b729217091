//! Postgres servers do what tests need of them.

mod bouncer;
mod doors;
mod orphan;
mod pair;
mod template;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tavern_testkit::engine::{PostgresOptions, PostgresServer};
use tavern_testkit::wait::{eventually, within};
use tokio::time::timeout;

async fn start() -> PostgresServer {
    PostgresServer::start(PostgresOptions::new().without_fsync()).await.unwrap()
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
    let server = PostgresServer::start(PostgresOptions::new()).await.unwrap();
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
    for round in 0..2 {
        let base = tail(&server).await.1;
        // Rows and what they add up to, which is not on their pages.
        let rows = format!(
            "DO $$ BEGIN FOR k IN {base} + 1 .. 1000000 LOOP
                INSERT INTO t SELECT k, string_agg(md5(random()::text), '')
                    FROM generate_series(1, 100);
                UPDATE last SET n = k; COMMIT; END LOOP; END $$"
        );
        let play = async {
            while tail(&server).await.1 < base + 50 {}
            let (_, before) = tail(&server).await;
            server.save_snapshot().await.unwrap();
            let (_, after) = tail(&server).await;
            while tail(&server).await.1 <= after {}
            (before, after)
        };
        let (before, after) = tokio::select! {
            result = server.psql(&rows) => panic!("{result:?}"),
            // Pages are written beside the log.
            result = server.psql("CHECKPOINT \\watch 0.01") => panic!("{result:?}"),
            tails = within("a snapshot", play) => tails,
        };
        server.rewind().await.unwrap();
        let (count, max) = tail(&server).await;
        assert_eq!(count, max, "{round}");
        assert!((before..=after).contains(&max), "{round}: {before} {max} {after}");
        let last = server.psql("SELECT n FROM last").await.unwrap();
        assert_eq!(last, max.to_string(), "{round}");
        // Each page of it can be read.
        let whole = "SELECT count(*) FROM t WHERE length(filler) = 3200";
        assert_eq!(server.psql(whole).await.unwrap(), max.to_string(), "{round}");
    }
}

/// A client that writes all the time.
async fn write_on(server: &PostgresServer) {
    let sql = "DO $$ BEGIN LOOP INSERT INTO t SELECT coalesce(max(n), 0) + 1 FROM t; COMMIT;
               END LOOP; END $$";
    panic!("{:?}", server.psql(sql).await);
}

/// When each file of the log was last written.
fn written(dir: &Path) -> BTreeMap<OsString, SystemTime> {
    let entries = fs::read_dir(dir.join("data/pg_wal")).unwrap().map(Result::unwrap);
    entries.map(|file| (file.file_name(), file.metadata().unwrap().modified().unwrap())).collect()
}

#[tokio::test]
async fn pause_holds_what_is_busy_and_resume_lets_it_go_on() {
    let server = start().await;
    make_table(&server).await;
    let dir = server.dir();
    let moved = async |what| {
        let before = written(dir);
        eventually(what, move || written(dir) != before).await;
    };
    let play = async {
        moved("the client to write").await;
        for _ in 0..3 {
            server.pause().await.unwrap();
            let before = written(dir);
            let mut query = Box::pin(server.psql("SELECT 1"));
            assert!(timeout(Duration::from_millis(200), &mut query).await.is_err(), "it answers");
            assert_eq!(written(dir), before);
            server.resume().unwrap();
            assert_eq!(within("an answer", query).await.unwrap(), "1");
            moved("the client to go on").await;
        }
        server.pause().await.unwrap();
    };
    tokio::select! {
        // Its connection survived all pauses.
        () = write_on(&server) => {}
        () = play => {}
    }
    server.kill().await.unwrap();
    server.start_again().await.unwrap();
    let (count, max) = tail(&server).await;
    assert_eq!(count, max);
    assert!(max > 0);
}

#[tokio::test]
async fn terminate_hangs_up_and_keeps_all() {
    let server = start().await;
    make_table(&server).await;
    server.psql("INSERT INTO t VALUES (1)").await.unwrap();
    assert!(server.start_again().await.is_err(), "it runs");
    let busy = server.psql("SELECT pg_sleep(100)");
    let end = async {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while server.psql(asleep).await.unwrap() != "1" {}
        server.terminate().await.unwrap();
    };
    let (busy, ()) = within("the end", async { tokio::join!(busy, end) }).await;
    assert!(busy.unwrap_err().to_string().contains("administrator command"));
    assert!(server.pause().await.is_err(), "it is not running");
    server.start_again().await.unwrap();
    assert_eq!(tail(&server).await, (1, 1));
    let log = fs::read_to_string(server.dir().join("server.log")).unwrap();
    assert!(!log.contains("automatic recovery"), "{log}");
}

/// The number of the shared memory that the server has now.
fn shared_memory(server: &PostgresServer) -> String {
    let text = fs::read_to_string(server.dir().join("data/postmaster.pid")).unwrap();
    text.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

/// Whether there is shared memory of this number; where the system does not say, there is none.
fn is_there(number: &str) -> bool {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    table.lines().any(|line| line.split_whitespace().nth(1) == Some(number))
}

#[tokio::test]
async fn nothing_stays_behind() {
    let server = start().await;
    server.save_snapshot().await.unwrap();
    let before = shared_memory(&server);
    assert!(is_there(&before) || !cfg!(target_os = "linux"));
    server.rewind().await.unwrap();
    let after = shared_memory(&server);
    assert!(before == after || !is_there(&before), "{before} {after}");
    server.kill().await.unwrap();
    server.start_again().await.unwrap();
    server.pause().await.unwrap();
    let (dir, addr) = (server.dir().to_owned(), server.addr());
    drop(server);
    assert!(!dir.exists());
    assert!(!is_there(&after));
    std::net::TcpStream::connect(addr).unwrap_err();

    let server = start().await;
    let last = shared_memory(&server);
    server.kill().await.unwrap();
    drop(server);
    assert!(!is_there(&last), "of one that was killed");
}
