//! What may happen to the file: locked, damaged, removed, replaced, restored.

use std::time::Duration;

use rusqlite::Connection;
use tavern_backend::{Append, Backend, Error, FeedEvent, Keep, Place, Position, Retention};
use tavern_sqlite::SqliteConfig;

use crate::kit::{Dir, Follower, Node, message, seqs, soon, texts, until};

/// Waits until publishing works again.
async fn recovered(node: &Node) {
    let health = node.backend.health();
    until("it is up again", async || health.get().up.then_some(())).await;
    node.publish("t", "after").await;
}

async fn refused(config: SqliteConfig) -> Error {
    Node::try_open(config).await.expect_err("refused")
}

#[tokio::test]
async fn what_is_not_a_log_is_refused_and_said_so() {
    let dir = Dir::new();
    std::fs::write(dir.db(), "just some text, long enough to be looked at as a header".repeat(99))
        .unwrap();
    let error = refused(dir.config()).await;
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    assert!(error.to_string().contains("not a SQLite database"), "{error}");

    let dir = Dir::new();
    Connection::open(dir.db()).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let error = refused(dir.config()).await;
    assert!(error.to_string().contains("another program"), "{error}");
    let tables: i64 = Connection::open(dir.db())
        .unwrap()
        .query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1, "it was left alone");

    let dir = Dir::new();
    dir.node().await.close().await;
    let error = refused(dir.config().with_namespace("other")).await;
    assert!(error.to_string().contains("`default`, not `other`"), "{error}");
    Connection::open(dir.db()).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let error = refused(dir.config()).await;
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    assert!(error.to_string().contains("version 7") && error.to_string().contains("version 1"));
}

#[tokio::test]
async fn configurations_that_cannot_work_are_refused() {
    let dir = Dir::new();
    for config in [
        dir.config().with_namespace(""),
        dir.config().with_max_payload(0),
        dir.config().with_dedup_window(Duration::from_secs(1)),
        dir.config().with_poll_interval(Duration::ZERO),
        dir.config().with_apply_retention(true),
    ] {
        assert!(matches!(refused(config).await, Error::Config { .. }));
    }
    let error = refused(SqliteConfig::new(dir.path().join("missing/log.db"))).await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_foreign_lock_gives_clear_errors_and_they_pass() {
    let dir = Dir::new();
    let node = Node::open(dir.config().with_lock_timeout(Duration::from_millis(300))).await;
    let other = Connection::open(dir.db()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = node.send(message("t", "x")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("lock"), "{error}");
    assert!(!node.backend.health().get().up);
    node.all().await;
    other.execute_batch("ROLLBACK").unwrap();
    recovered(&node).await;
    assert_eq!(texts(&node.all().await), ["after"], "what was refused is not stored later");
    node.close().await;
}

#[tokio::test]
async fn a_damaged_row_keeps_its_seq_and_is_told() {
    let dir = Dir::new();
    let node = dir.node().await;
    let mut follower = Follower::new(&node);
    for n in 1..=5 {
        node.publish("t", &n.to_string()).await;
    }
    // The feed is past what is damaged now.
    while !matches!(follower.next().await, FeedEvent::Skip { to: 5, .. }) {}
    let other = Connection::open(dir.db()).unwrap();
    other.execute("UPDATE log SET body = x'00ff17' WHERE seq = 2", []).unwrap();
    other
        .execute(
            "UPDATE log SET body = (SELECT body FROM log WHERE seq = 1), lane = 99 WHERE seq = 3",
            [],
        )
        .unwrap();
    let page = node.all().await;
    assert_eq!(seqs(&page), [1, 4, 5]);
    assert_eq!(page.undecodable, [(2, Some(message("t", "").lane())), (3, None)]);
    // The same on the feed.
    node.subscribe("t").await;
    node.publish("t", "6").await;
    assert_eq!(follower.entry().await.position.seq, 6);
    other.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    other
        .execute_batch(
            "BEGIN; INSERT INTO log VALUES (7, 1, 0, x'ff'); UPDATE state SET seq = 7; COMMIT",
        )
        .unwrap();
    let FeedEvent::Undecodable { position, lane, .. } = follower.next().await else { panic!() };
    assert_eq!((position.seq, lane), (7, Some(message("t", "").lane())));
    node.publish("t", "8").await;
    assert_eq!(follower.entry().await.position.seq, 8);
    node.close().await;
}

#[tokio::test]
async fn a_file_that_is_overwritten_with_garbage_is_an_error_and_no_panic() {
    let dir = Dir::new();
    let node = dir.node().await;
    for n in 1..=50 {
        node.publish("t", &n.to_string()).await;
    }
    node.close().await;
    let whole = std::fs::read(dir.db()).unwrap();
    // Each page in turn, so that every tree is hit.
    for page in 0..whole.len() / 4096 {
        let mut bytes = whole.clone();
        for (n, byte) in bytes[page * 4096 + 100..(page + 1) * 4096].iter_mut().enumerate() {
            *byte = u8::try_from((n * 31 + page) % 251).unwrap();
        }
        std::fs::write(dir.db(), bytes).unwrap();
        match Node::try_open(dir.config()).await {
            Err(error) => drop(error.to_string()),
            Ok(node) => {
                drop(node.send(message("t", "x")).await);
                drop(
                    soon("read", node.backend.read(tavern_backend::ReadQuery::range(0, 99))).await,
                );
                let sent = node.send(message("u", "x")).await;
                assert!(!matches!(sent, Err(Error::Closed)), "a thread ended: {sent:?}");
                node.close().await;
            }
        }
    }
}

async fn three(dir: &Dir) -> (Node, Position) {
    let node = dir.node().await;
    for n in 1..3 {
        node.publish("t", &n.to_string()).await;
    }
    let third = node.publish("t", "3").await;
    (node, third)
}

#[tokio::test]
async fn a_removed_file_begins_a_new_log_and_the_feed_goes_on_there() {
    let dir = Dir::new();
    let (node, third) = three(&dir).await;
    let mut follower = Follower::new(&node);
    node.subscribe("**").await;
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", dir.db().display())).unwrap();
    }
    let first = until("a new log is there", async || match node.send(message("t", "new")).await {
        Ok(tavern_backend::Published::Stored(position)) => Some(position),
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
            None
        }
    })
    .await;
    assert_ne!(first.epoch, third.epoch);
    assert_eq!(first.seq, 1);
    let mut down = false;
    loop {
        match follower.next().await {
            FeedEvent::LinkLost { .. } => down = true,
            FeedEvent::LinkRestored { .. } => assert!(down),
            FeedEvent::Entry(entry) if entry.position.epoch == third.epoch => {}
            FeedEvent::Entry(entry) => {
                assert_eq!(entry.position, first);
                break;
            }
            FeedEvent::Skip { epoch, .. } => assert_eq!(epoch, third.epoch, "from before"),
            other => panic!("{other:?}"),
        }
    }
    let other = dir.node().await;
    assert_eq!(other.head().await, first, "nobody writes to a file that others do not see");
    node.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_removed_file_is_made_anew_though_nobody_publishes() {
    let dir = Dir::new();
    let (node, third) = three(&dir).await;
    for suffix in ["", "-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", dir.db().display())).unwrap();
    }
    let lineage = until("a new log is there", async || {
        let head = node.backend.head().await.ok()?;
        (head.position.epoch != third.epoch).then_some(head.lineage)
    })
    .await;
    assert_eq!(lineage.locate(third, 0), Place::Unknown, "which is told as a gap");
    recovered(&node).await;
    node.close().await;
}

#[tokio::test]
async fn a_backup_moved_to_its_place_forks_where_it_ended() {
    let dir = Dir::new();
    let (node, third) = three(&dir).await;
    let mut follower = Follower::new(&node);
    node.subscribe("**").await;
    let backup = dir.path().join("backup.db");
    let copier = Connection::open(dir.db()).unwrap();
    copier.execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    drop(copier);
    node.publish("t", "4").await;
    let fifth = node.publish("t", "5").await;
    while follower.entry().await.position != fifth {}
    // The old file's write-ahead log still lies there, with 4 and 5 in it.
    std::fs::rename(&backup, dir.db()).unwrap();
    let new = node.publish("t", "new").await;
    assert_eq!(new.seq, 4);
    assert_ne!(new.epoch, third.epoch);
    assert_eq!(texts(&node.all().await), ["1", "2", "3", "new"]);
    let lineage = node.backend.head().await.unwrap().lineage;
    assert_eq!(lineage.locate(fifth, 4), Place::Beyond { fork: 3 });
    assert_eq!(lineage.forks[0].lost_through, 5, "the fence tells");
    loop {
        if let FeedEvent::Entry(entry) = follower.next().await
            && entry.position.epoch != third.epoch
        {
            assert_eq!(entry.position, new);
            break;
        }
    }
    let check: String = Connection::open(dir.db())
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    node.close().await;
}

#[tokio::test]
async fn a_backup_written_in_place_is_noticed_by_the_fence() {
    let dir = Dir::new();
    let (node, third) = three(&dir).await;
    node.close().await;
    let backup = std::fs::read(dir.db()).unwrap();
    let node = dir.node().await;
    node.publish("t", "4").await;
    let fifth = node.publish("t", "5").await;
    node.close().await;
    std::fs::write(dir.db(), backup).unwrap();

    let node = dir.node().await;
    assert_eq!(node.head().await, third, "no read opens an epoch");
    // Nor does an append of nothing, and it does not wipe out the trace.
    node.backend.publish(Append { known: None, publications: vec![] }).await.unwrap();
    assert_eq!(node.head().await, third);
    let new = node.publish("t", "new").await;
    assert_ne!(new.epoch, third.epoch);
    let lineage = node.backend.head().await.unwrap().lineage;
    assert_eq!(lineage.locate(fifth, 4), Place::Beyond { fork: 3 });
    assert_eq!((lineage.forks[0].at, lineage.forks[0].lost_through), (3, 5));
    node.close().await;
}

#[tokio::test]
async fn a_node_that_knows_more_says_so_without_a_fence() {
    let dir = Dir::new();
    let (node, third) = three(&dir).await;
    node.close().await;
    std::fs::remove_file(dir.path().join("log.db-lock")).unwrap();
    let node = dir.node().await;
    let known = Some(Position::new(third.epoch, 9));
    let empty = Append { known, publications: vec![] };
    node.backend.publish(empty).await.unwrap();
    assert_eq!(node.head().await, third, "an append of nothing opens no epoch");
    let publications = vec![node.publication(message("t", "new"))];
    node.backend.publish(Append { known, publications }).await.unwrap();
    let lineage = node.backend.head().await.unwrap().lineage;
    assert_eq!((lineage.forks[0].at, lineage.forks[0].lost_through), (3, 9));
    node.close().await;
}

#[tokio::test]
async fn a_copy_elsewhere_is_another_log() {
    let dir = Dir::new();
    let (node, third) = three(&dir).await;
    node.close().await;
    let copy = dir.path().join("copy.db");
    std::fs::copy(dir.db(), &copy).unwrap();
    let node = Node::open(SqliteConfig::new(copy)).await;
    let new = node.publish("t", "4").await;
    assert_ne!(new.epoch, third.epoch);
    let lineage = node.backend.head().await.unwrap().lineage;
    assert_eq!(lineage.locate(third, 4), Place::At { seq: 3, lost: None });
    node.close().await;
}

#[tokio::test]
async fn the_logs_rules_win_and_can_be_replaced_on_purpose() {
    let dir = Dir::new();
    let rules = |n| Retention::default().with_default(Keep::new(n, Duration::ZERO));
    let first = Node::open(dir.config().with_retention(rules(5))).await;
    assert!(first.backend.retention_mismatch().is_none());
    for n in 0..5 {
        first.publish("t", &n.to_string()).await;
    }
    let second = Node::open(dir.config().with_retention(rules(2))).await;
    assert!(second.backend.retention_mismatch().is_some_and(|r| r.default.entries == 5));
    assert_eq!(texts(&second.all().await).len(), 5);
    let third = Node::open(dir.config().with_retention(rules(2)).with_apply_retention(true)).await;
    assert!(third.backend.retention_mismatch().is_none());
    for node in [&first, &second, &third] {
        let page = node.all().await;
        assert_eq!(texts(&page), ["3", "4"]);
        assert_eq!(page.floors.len(), 1);
        assert_eq!(page.floors[0].seq, 3);
        assert_eq!(node.backend.head().await.unwrap().retention.version, 1);
    }
    for (n, node) in [&first, &second, &third].into_iter().enumerate() {
        node.publish("t", &format!("new {n}")).await;
        let kept = "SELECT count FROM lanes";
        let kept: i64 =
            Connection::open(dir.db()).unwrap().query_row(kept, [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 2, "whoever writes trims by the new rules");
    }
    for node in [&first, &second, &third] {
        node.close().await;
    }
}
