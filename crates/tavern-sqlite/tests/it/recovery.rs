//! What is in the log after a file was locked, damaged, restored, or replaced under its nodes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;
use tavern_backend::{Backend, FeedEvent, Fork, Place, Position, Published, ReadQuery};

use crate::child::{Writer, be_a_writer};
use crate::kit::{Dir, Follower, Node, message, seqs, texts, until};

#[tokio::test]
async fn a_node_that_is_down_finds_out_by_itself_that_it_can_write_again() {
    let dir = Dir::new();
    let mut settings = dir.config();
    settings.lock_timeout = Duration::from_millis(300);
    let node = Node::open(settings).await;
    let foreign = Connection::open(dir.db()).unwrap();
    foreign.execute_batch("BEGIN EXCLUSIVE").unwrap();
    node.send(message("t", "1")).await.unwrap_err();
    assert!(!node.backend.health().get().up);
    // Longer than what it still tries for the publication that was given up.
    tokio::time::sleep(Duration::from_secs(1)).await;
    foreign.execute_batch("COMMIT").unwrap();
    until("it is up", async || node.backend.health().get().up.then_some(())).await;
    node.close().await;
}

#[tokio::test]
async fn what_nobody_can_read_keeps_its_place_in_the_feed() {
    let dir = Dir::new();
    let node = dir.node().await;
    let mut feed = Follower::new(&node);
    node.subscribe("**").await;
    node.publish("t", "1").await;
    assert_eq!(feed.entry().await.position.seq, 1);
    // Another hand writes what nobody can read.
    let conn = Connection::open(dir.db()).unwrap();
    conn.execute_batch(
        "BEGIN IMMEDIATE;
         INSERT INTO log SELECT 2, lane, appended, x'FFFFFF' FROM log WHERE seq = 1;
         INSERT INTO log SELECT 3, 4711, appended, body FROM log WHERE seq = 1;
         UPDATE lanes SET count = count + 1, last_seq = 2;
         UPDATE state SET seq = 3;
         COMMIT;",
    )
    .unwrap();
    assert_eq!(node.publish("t", "4").await.seq, 4);
    let lane = message("t", "").lane();
    for (seq, expected) in [(2, Some(lane.clone())), (3, None)] {
        match feed.next().await {
            FeedEvent::Undecodable { position, lane, .. } => {
                assert_eq!((position.seq, lane), (seq, expected));
            }
            other => panic!("{seq}: {other:?}"),
        }
    }
    assert_eq!(feed.entry().await.position.seq, 4);
    let page = node.read(ReadQuery::range(0, 10)).await;
    assert_eq!(seqs(&page), [1, 4]);
    assert_eq!(page.undecodable, [(2, Some(lane)), (3, None)]);
    node.close().await;
}

#[tokio::test]
async fn a_backup_restored_into_the_open_file_opens_an_epoch_that_tells_what_was_lost() {
    let dir = Dir::new();
    let (node, other) = (dir.node().await, dir.node().await);
    let last = ten_with_a_backup_at_five(&dir, &node).await;
    copy(&backup(&dir), &dir.db());
    // A write that appends nothing must not wipe out what tells of the loss.
    node.append(Vec::new()).await.unwrap();
    let new = other.publish("t", "new").await;
    assert_ne!(new.epoch, last.epoch);
    assert_eq!(new.seq, 6);
    for node in [&node, &other] {
        let lineage = node.backend.head().await.unwrap().lineage;
        let fork = Fork { parent: last.epoch, at: 5, lost_through: 10 };
        assert_eq!(lineage.forks, [fork]);
        assert_eq!(lineage.locate(last, 6), Place::Beyond { fork: 5 });
        assert_eq!(texts(&node.all().await), ["1", "2", "3", "4", "5", "new"]);
    }
    node.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_moved_over_one_whose_write_ahead_log_is_left_is_not_damaged_by_it() {
    if be_a_writer().await {
        return;
    }
    let test = "recovery::a_file_moved_over_one_whose_write_ahead_log_is_left_is_not_damaged_by_it";
    let dir = Dir::new();
    let node = dir.node().await;
    let last = ten_with_a_backup_at_five(&dir, &node).await;
    node.close().await;
    // A process that was killed leaves its write-ahead log behind.
    let mut writer = Writer::spawn(test, &dir.db(), 1, u64::MAX - 100);
    writer.wait_acked(20);
    writer.kill();
    assert!(dir.path().join("log.db-wal").metadata().unwrap().len() > 0);
    std::fs::rename(backup(&dir), dir.db()).unwrap();

    let node = dir.node().await;
    assert_eq!(texts(&node.all().await), ["1", "2", "3", "4", "5"], "nothing of the other's");
    let new = node.publish("t", "new").await;
    assert_eq!(new.seq, 6);
    assert_ne!(new.epoch, last.epoch);
    let lineage = node.backend.head().await.unwrap().lineage;
    assert!(lineage.forks[0].lost_through >= 30, "{lineage:?}");
    node.close().await;
    let conn = Connection::open(dir.db()).unwrap();
    let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn nodes_of_a_file_that_is_replaced_meet_on_the_new_one() {
    let dir = Dir::new();
    let nodes = [dir.node().await, dir.node().await, dir.node().await];
    let last = ten_with_a_backup_at_five(&dir, &nodes[0]).await;
    // Every thread that reads has the old file open.
    for node in nodes.iter().flat_map(|node| [node, node, node, node]) {
        assert_eq!(node.all().await.head, 10);
    }
    std::fs::rename(backup(&dir), dir.db()).unwrap();
    let mut expected: Vec<_> = (1..=5).map(|n| n.to_string()).collect();
    for round in 0..3 {
        for (n, node) in nodes.iter().enumerate() {
            let text = format!("{round}.{n}");
            let position =
                until("it is stored", async || match node.send(message("t", &text)).await {
                    Ok(Published::Stored(position)) => Some(position),
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => None,
                })
                .await;
            assert_ne!(position.epoch, last.epoch);
            expected.push(text);
        }
    }
    for node in &nodes {
        until("all is there", async || {
            let page = node.backend.read(ReadQuery::range(0, 100)).await.ok()?;
            (texts(&page) == expected).then_some(())
        })
        .await;
    }
    // Who closes the old file last must not take the new one's write-ahead log along.
    assert!(dir.path().join("log.db-wal").exists());
    for node in nodes {
        node.close().await;
    }
    let again = dir.node().await;
    assert_eq!(texts(&again.all().await), expected);
    again.close().await;
}

/// Ten messages, with a backup after the fifth. Returns the last position.
async fn ten_with_a_backup_at_five(dir: &Dir, node: &Node) -> Position {
    let mut last = node.head().await;
    for n in 1..=10 {
        last = node.publish("t", &n.to_string()).await;
        if n == 5 {
            copy(&dir.db(), &backup(dir));
        }
    }
    last
}

fn backup(dir: &Dir) -> PathBuf {
    dir.path().join("backup.db")
}

fn copy(from: &Path, to: &Path) {
    let (from, mut to) = (Connection::open(from).unwrap(), Connection::open(to).unwrap());
    to.busy_timeout(Duration::from_secs(5)).unwrap();
    let backup = Backup::new(&from, &mut to).unwrap();
    backup.run_to_completion(1 << 20, Duration::from_millis(5), None).unwrap();
}
