//! A file that was removed, and another at its place that got the same number.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::Connection;

use crate::child::{Writer, be_a_writer};
use crate::kit::{Dir, Node, texts};

fn number(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

/// Removes the log and copies `from` to its place. Most file systems soon give the copy the number
/// of the file that was removed; where one does not, the number itself tells them apart.
fn put_back(from: &Path, dir: &Dir) {
    let old = number(&dir.db());
    std::fs::remove_file(dir.db()).unwrap();
    for n in 0..200 {
        std::fs::copy(from, dir.db()).unwrap();
        if number(&dir.db()) == old || n == 199 {
            return;
        }
        // It keeps the number that is not wanted.
        std::fs::rename(dir.db(), dir.path().join(format!("held-{n}"))).unwrap();
    }
}

/// A log of five entries at the place, one of three beside it.
async fn five_and_a_copy_of_three(dir: &Dir) -> Node {
    let node = dir.node().await;
    for n in 1..=5 {
        node.publish("t", &n.to_string()).await;
        if n == 3 {
            let conn = Connection::open(dir.db()).unwrap();
            let copy = dir.path().join("copy.db");
            conn.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        }
    }
    node
}

#[tokio::test]
async fn a_copy_under_the_same_number_is_another_log_even_without_a_fence() {
    let dir = Dir::new();
    let node = five_and_a_copy_of_three(&dir).await;
    let fifth = node.head().await;
    node.close().await;
    put_back(&dir.path().join("copy.db"), &dir);
    std::fs::remove_file(dir.path().join("log.db-lock")).unwrap();

    let node = dir.node().await;
    let new = node.publish("t", "new").await;
    assert_eq!(new.seq, 4);
    assert_ne!(new.epoch, fifth.epoch);
    let next = node.publish("t", "next").await;
    assert_eq!(next.epoch, new.epoch, "once");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_ahead_log_is_not_played_into_a_copy_under_the_same_number() {
    if be_a_writer().await {
        return;
    }
    let test = "births::a_write_ahead_log_is_not_played_into_a_copy_under_the_same_number";
    let dir = Dir::new();
    five_and_a_copy_of_three(&dir).await.close().await;
    // A process that was killed leaves its write-ahead log behind.
    let mut writer = Writer::spawn(test, &dir.db(), 1, u64::MAX - 100);
    writer.wait_acked(20);
    writer.kill();
    put_back(&dir.path().join("copy.db"), &dir);
    assert!(dir.path().join("log.db-wal").metadata().unwrap().len() > 0);

    let node = dir.node().await;
    assert_eq!(texts(&node.all().await), ["1", "2", "3"], "nothing of the other's");
    let lost = writer.acked.last().unwrap();
    assert_eq!(node.publish("t", "new").await.seq, 4);
    let lineage = tavern_backend::Backend::head(&node.backend).await.unwrap().lineage;
    assert!(lineage.forks[0].lost_through >= *lost, "{lineage:?}");
    node.close().await;
    let conn = Connection::open(dir.db()).unwrap();
    let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn a_log_that_does_not_know_its_files_birth_learns_it_and_goes_on() {
    let dir = Dir::new();
    let node = dir.node().await;
    let first = node.publish("t", "1").await;
    node.close().await;
    let conn = Connection::open(dir.db()).unwrap();
    let stored = || -> String {
        conn.query_row("SELECT incarnation FROM state", [], |row| row.get(0)).unwrap()
    };
    let whole = stored();
    let (life, birth) = whole.rsplit_once(':').unwrap();
    assert_eq!(life.split(':').count(), 3, "the file system tells no time of birth");
    conn.execute("UPDATE state SET incarnation = ?1", [life]).unwrap();
    let node = dir.node().await;
    assert_eq!(node.publish("t", "2").await.epoch, first.epoch);
    assert_eq!(stored(), whole);
    // Another birth is another file.
    conn.execute("UPDATE state SET incarnation = ?1", [format!("{life}:1{birth}")]).unwrap();
    assert_ne!(node.publish("t", "3").await.epoch, first.epoch);
    assert_eq!(stored(), whole);
    node.close().await;
}
