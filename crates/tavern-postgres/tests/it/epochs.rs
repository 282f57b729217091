//! What takes entries away without a restart of the server: no seq is given out twice in an epoch, and
//! who had seen more is told.

use tavern_backend::{Append, Bus, Origin, Publication, Published};
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tavern_testkit::{Client, publish};
use tokio::process::Command;
use tokio::time::Instant;

use crate::stand::{Stand, store, texts, until};

/// The newest: its seq and its epoch.
async fn head(bus: &Bus) -> (u64, String) {
    let head = within("the head", bus.head()).await.unwrap();
    (head.position.seq, head.position.epoch.to_string())
}

/// A dump of the database's schema `tavern`, as statements that `psql` reads.
async fn dump(stand: &Stand, database: &str) -> String {
    let url = stand.server.url("postgres", database);
    let dump = Command::new("pg_dump").args(["--schema=tavern", &url]).output().await.unwrap();
    assert!(dump.status.success(), "{dump:?}");
    String::from_utf8(dump.stdout).unwrap()
}

async fn restore(stand: &Stand, database: &str, dump: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    // At once: a node that stays would make the schema anew between.
    let all = format!("BEGIN; DROP SCHEMA tavern CASCADE; {dump}; COMMIT;");
    std::fs::write(file.path(), all).unwrap();
    let url = stand.server.url("postgres", database);
    let file = file.path().to_str().unwrap();
    let psql = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, &url];
    let done = Command::new("psql").args(psql).output().await.unwrap();
    assert!(done.status.success(), "{done:?}");
}

/// While a node is away, and under the hands of one that stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_dump_opens_an_epoch() {
    for stays in [false, true] {
        let stand = Stand::start().await;
        let stage = stand.stage();
        let broker = stage.node().await.broker();
        let mut client = Client::fresh(&broker, &["t"]);
        client.opened().await;
        publish(&broker, message("t", "kept")).await;
        let backup = dump(&stand, "postgres").await;
        let lost = publish(&broker, message("t", "lost")).await;
        assert_eq!(client.texts(2).await, ["kept", "lost"]);
        if !stays {
            stage.close().await;
        }
        restore(&stand, "postgres", &backup).await;
        if !stays {
            // Somebody else is first: nobody who comes knows of what is lost.
            let bus = stand.bus().await;
            assert_eq!(store(&bus, message("t", "after")).await, 2);
            let (seq, epoch) = head(&bus).await;
            assert_eq!(seq, 2);
            assert_ne!(epoch, lost.0.epoch.to_string());
            bus.close().await.unwrap();
        }
        let again = stand.stage();
        let broker = if stays { broker } else { again.node().await.broker() };
        if stays {
            publish(&broker, message("t", "after")).await;
            assert_eq!(client.gap().await.reason.as_str(), "epoch");
            assert_eq!(client.texts(1).await, ["after"]);
        }
        let (replay, _) = Client::resume(&broker, &["t"], lost).replay().await;
        assert!(replay.reasons().iter().any(|reason| reason.as_str() == "epoch"), "{replay:?}");
        assert_eq!(replay.texts(), ["after"]);
        if stays {
            stage.close().await;
        }
        again.close().await;
    }
}

/// A copy has the same files under the same names, in another database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_database_opens_an_epoch() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    store(&bus, message("t", "1")).await;
    let (_, epoch) = head(&bus).await;
    bus.close().await.unwrap();
    stand.server.psql_in("template1", "CREATE DATABASE copy TEMPLATE postgres").await.unwrap();
    let copy = stand.at(stand.server.url("postgres", "copy")).bus().await;
    assert_eq!(store(&copy, message("t", "2")).await, 2);
    assert_ne!(head(&copy).await.1, epoch);
    // The one it was copied from goes on as it was.
    let bus = stand.bus().await;
    assert_eq!(store(&bus, message("t", "2")).await, 2);
    assert_eq!(head(&bus).await.1, epoch);
    for bus in [copy, bus] {
        bus.close().await.unwrap();
    }
}

/// One backend dies, and with it what was not on the disk; the server's process stays the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_one_backend_opens_an_epoch() {
    let stand = Stand::start_with(
        tavern_testkit::engine::PostgresOptions::new().with_setting("wal_writer_delay", "10s"),
    )
    .await;
    let url = stand.server.url("postgres", "postgres");
    let relaxed = stand.at(format!("{url}?options=-c%20synchronous_commit%3Doff"));
    let mut tries = 0;
    loop {
        let bus = relaxed.bus().await;
        store(&bus, message("t", "kept")).await;
        stand.psql("CHECKPOINT").await;
        let (kept, epoch) = head(&bus).await;
        let start = stand.psql("SELECT pg_postmaster_start_time()").await;
        store(&bus, message("t", "lost")).await;
        let victim = stand.sql().await;
        let pid = victim.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().await.unwrap();
        assert!(killed.success());
        until("it is cut", || async { bus.health().get().connects > 1 }).await;
        // Nobody tells what was lost: this node is gone.
        within("it closes", bus.close()).await.unwrap();
        until("the server is back", || async {
            stand
                .server
                .psql("SELECT pg_postmaster_start_time()")
                .await
                .is_ok_and(|now| now == start)
        })
        .await;
        let left: u64 = stand.psql("SELECT max(seq) FROM tavern.entry").await.parse().unwrap();
        let bus = stand.bus().await;
        let seq = store(&bus, message("t", "after")).await;
        let (_, after) = head(&bus).await;
        bus.close().await.unwrap();
        if left == kept {
            assert_eq!(seq, kept + 1, "its seq is another's now");
            assert_ne!(epoch, after);
            break;
        }
        // It was on the disk by chance.
        tries += 1;
        assert!(tries < 10, "what nobody waits for is on the disk each time");
    }
}

/// Somebody empties the table, in either way. What was swept before counts, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_log_goes_on_above_what_it_had() {
    for empty in ["TRUNCATE tavern.entry", "DELETE FROM tavern.entry"] {
        let stand = Stand::start().await;
        let stage = stand.stage();
        let broker = stage.node().await.broker();
        let mut client = Client::fresh(&broker, &["t", "u"]);
        client.opened().await;
        let early = publish(&broker, message("t", "1")).await;
        for n in 2..=5 {
            publish(&broker, message(if n == 4 { "u" } else { "t" }, n.to_string())).await;
        }
        client.texts(5).await;
        stage.close().await;
        stand.psql(empty).await;
        // Only a floor is left of what was there, and not of the lane that is read.
        stand
            .psql("DELETE FROM tavern.sent; UPDATE tavern.lane SET floor = 4 WHERE topic = 'u'")
            .await;
        let stage = stand.stage();
        let node = stage.node().await;
        let broker = node.broker();
        publish(&broker, message("t", "after")).await;
        let (seq, epoch) = head(node.bus()).await;
        assert_eq!(seq, 5, "{empty}: above the floor");
        assert_ne!(epoch, early.0.epoch.to_string(), "{empty}");
        assert_eq!(texts(node.bus()).await, ["after"]);
        let (replay, _) = Client::resume(&broker, &["t"], early).replay().await;
        assert_eq!(replay.texts(), ["after"], "{empty}");
        assert!(!replay.reasons().is_empty(), "{empty}: it is told");
        publish(&broker, message("t", "more")).await;
        assert_eq!(head(node.bus()).await, (6, epoch), "{empty}: one fork");
        stage.close().await;
    }
}

/// As keys tell, which are younger than any floor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_log_goes_on_above_its_keys() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    for n in 1..=5 {
        assert_eq!(store(&bus, message("t", n.to_string())).await, n);
    }
    bus.close().await.unwrap();
    stand.psql("TRUNCATE tavern.entry").await;
    let bus = stand.bus().await;
    assert_eq!(store(&bus, message("t", "6")).await, 6);
    bus.close().await.unwrap();
}

/// Moving a table is no loss: the epoch is another one, and nobody is told of a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_table_is_no_gap() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let broker = stage.node().await.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    stand.psql("VACUUM FULL tavern.entry").await;
    publish(&broker, message("t", "2")).await;
    assert_eq!(client.texts(2).await, ["1", "2"]);
    stage.close().await;
}

/// A call with messages of two nodes, of which one has another's between: each key is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_between_two_of_the_same_node_is_not_taken_for_known() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    let (a, b) = (bus.next_key(), tavern_backend::NodeId::random().unwrap());
    let key = |counter| Origin { node: a.node, counter: a.counter + counter };
    let say = |key: Origin, text: &str| Publication {
        key,
        envelope: message("t", text),
        accepted: Instant::now(),
    };
    let append = async |publications| {
        let append = Append { known: None, publications };
        within("an append", bus.append(append)).await.unwrap()
    };
    let first = append(vec![
        say(key(1), "a1"),
        say(Origin { node: b, counter: 1 }, "b1"),
        say(key(3), "a3"),
    ])
    .await;
    let second = append(vec![say(key(2), "a2")]).await;
    assert!(matches!(second[..], [Published::Stored(_)]), "{second:?}");
    for (counter, expected) in [(1, &first[0]), (3, &first[2]), (2, &second[0])] {
        let again = append(vec![say(key(counter), "again")]).await;
        let Published::Stored(position) = expected else { panic!("{expected:?}") };
        assert_eq!(again, [Published::Duplicate(*position)], "{counter}");
    }
    assert_eq!(texts(&bus).await, ["a1", "b1", "a3", "a2"]);
    // Runs are still runs.
    append((10..20).map(|n| say(key(n), "run")).collect()).await;
    let runs = stand.psql("SELECT count(*) FROM tavern.sent WHERE last - first = 9").await;
    assert_eq!(runs, "1");
    bus.close().await.unwrap();
}
