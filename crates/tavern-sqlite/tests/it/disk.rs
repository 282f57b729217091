//! A disk that is full, and a file that cannot be written.

use std::collections::HashSet;
use std::fs::File;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tavern_backend::{Backend, Error, Published, ReadQuery};
use tokio::time::Instant;

use crate::alone::{Disk, Given, alone};
use crate::child::{Writer, be_a_writer, config};
use crate::kit::{Dir, Follower, Node, message, seqs, texts, until};

/// Waits until the node has come up once more than the `before`th time, by itself.
async fn came_back(node: &Node, before: u64) {
    let health = node.backend.health();
    until("it is up again", async || {
        let health = health.get();
        (health.up && health.connects > before).then_some(())
    })
    .await;
}

fn connects(node: &Node) -> u64 {
    node.backend.health().get().connects
}

#[tokio::test]
async fn a_full_disk_gives_clear_errors_and_they_pass() {
    if !alone("disk::a_full_disk_gives_clear_errors_and_they_pass", Given::Mounts) {
        return;
    }
    let disk = Disk::mount("1m");
    let node = Node::open(config(disk.path().join("log.db"))).await;
    node.publish("t", "before").await;
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    let before = connects(&node);
    let error = node.send(message("t", &"x".repeat(100_000))).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("full; make room"), "{error}");
    assert_eq!(texts(&node.all().await), ["before"]);
    std::fs::remove_file(&filler).unwrap();
    came_back(&node, before).await;
    node.publish("t", "after").await;
    assert_eq!(texts(&node.all().await), ["before", "after"]);
    node.close().await;
}

#[tokio::test]
async fn what_a_full_disk_refused_is_stored_once_when_there_is_room() {
    let test = "disk::what_a_full_disk_refused_is_stored_once_when_there_is_room";
    if !alone(test, Given::Mounts) {
        return;
    }
    let disk = Disk::mount("3m");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![7; 1 << 20]).unwrap();
    let node = Node::open(config(disk.path().join("log.db"))).await;
    let before = connects(&node);
    let large = "x".repeat(40 << 10);
    let mut stored = Vec::new();
    let (refused, error) = loop {
        assert!(stored.len() < 100, "more is stored than there is room for");
        let publication = node.publication(message("t", &format!("{}-{large}", stored.len())));
        match node.append(vec![publication.clone()]).await {
            Ok(answers) => {
                let Published::Stored(position) = answers[0] else { panic!("{answers:?}") };
                stored.push(position);
            }
            Err(error) => break (publication, error),
        }
    };
    assert!(stored.len() > 5, "{}", stored.len());
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("full"), "{error}");
    let page = node.all().await;
    let last = *stored.last().unwrap();
    assert_eq!(page.head, last.seq, "what was stored can be read");

    std::fs::remove_file(&ballast).unwrap();
    came_back(&node, before).await;
    let again = node.append(vec![refused.clone()]).await.unwrap();
    let next = tavern_backend::Position { seq: last.seq + 1, ..last };
    assert_eq!(again, [Published::Stored(next)], "the refused one left no trace");
    assert_eq!(node.append(vec![refused]).await.unwrap(), [Published::Duplicate(next)]);
    assert_eq!(seqs(&node.all().await), (1..=next.seq).collect::<Vec<_>>());
    node.close().await;
}

/// No file of this process may be written to any more, or all may again. To SQLite it is what a
/// file system that became read-only under open files is: every write is refused.
fn refuse_writes(refuse: bool) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let current = if refuse { Some(0) } else { maximum };
    setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_file_cannot_be_written_reading_goes_on_and_nothing_is_stored_twice() {
    let test = "disk::while_the_file_cannot_be_written_reading_goes_on_and_nothing_is_stored_twice";
    if be_a_writer().await || !alone(test, Given::Limits) {
        return;
    }
    let dir = Dir::new();
    let nodes = [Node::open(config(dir.db())).await, Node::open(config(dir.db())).await];
    let mut followers = [Follower::new(&nodes[0]), Follower::new(&nodes[1])];
    for node in &nodes {
        node.subscribe("**").await;
    }
    nodes[0].publish("t", "before").await;
    // One that it does not happen to, and that begins later.
    let gate = dir.path().join("gate");
    let held = File::create(&gate).unwrap();
    held.lock().unwrap();
    let mut writer = Writer::spawn_behind(test, &dir.db(), 1, u64::MAX - 100, Some(&gate));
    writer.wait_ready();

    refuse_writes(true);
    let mut refused = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        let publication = node.publication(message("t", &format!("refused {n}")));
        let error = node.append(vec![publication.clone()]).await.unwrap_err();
        refused.push(publication);
        assert!(error.is_transient(), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("cannot be written") && said.contains("make it writable"), "{said}");
        let health = node.backend.health().get();
        assert!(!health.up && health.reason.unwrap().contains("make it writable"));
    }
    // Long enough for several looks at whether it has passed.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        for node in &nodes {
            assert!(!node.backend.health().get().up, "it takes itself for up");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    held.unlock().unwrap();
    let mut last = nodes[0].head().await.seq;
    for _ in 0..20 {
        let told = writer.drain();
        writer.wait_acked(told + 1);
        for (node, follower) in nodes.iter().zip(&mut followers) {
            while follower.entry().await.position.seq < *writer.acked.last().unwrap() {}
            let page = node.read(ReadQuery::range(last, u64::MAX).with_limit(1)).await;
            assert_eq!(seqs(&page), [last + 1], "what others store is read");
            let reason = node.backend.health().get().reason.unwrap();
            assert!(
                reason.contains("make it writable"),
                "that others write is no trouble: {reason}"
            );
        }
        last = *writer.acked.last().unwrap();
    }

    refuse_writes(false);
    for (node, publication) in nodes.iter().zip(refused) {
        came_back(node, 1).await;
        let again = node.append(vec![publication.clone()]).await.unwrap();
        let [Published::Stored(position)] = again[..] else { panic!("{again:?}") };
        let third = node.append(vec![publication]).await.unwrap();
        assert_eq!(third, [Published::Duplicate(position)]);
    }
    writer.kill();
    let (mut found, head) = (HashSet::new(), nodes[1].head().await.seq);
    let mut at = 0;
    while at < head {
        let page = nodes[1].read(ReadQuery::range(at, u64::MAX)).await;
        assert!(seqs(&page).into_iter().eq(at + 1..=page.to), "dense from {at} to {}", page.to);
        for text in texts(&page) {
            assert!(found.insert(text.to_owned()), "{text} is stored twice");
        }
        at = page.to;
    }
    assert!(found.contains("refused 0") && found.contains("refused 1"));
    assert!(nodes[0].backend.head().await.unwrap().lineage.forks.is_empty(), "one epoch");
    for node in nodes {
        node.close().await;
    }
}

#[tokio::test]
async fn a_node_on_a_read_only_file_system_does_not_start_and_says_what_to_do() {
    let test = "disk::a_node_on_a_read_only_file_system_does_not_start_and_says_what_to_do";
    if !alone(test, Given::Mounts) {
        return;
    }
    let disk = Disk::mount("8m");
    let settings = config(disk.path().join("log.db"));
    let node = Node::open(settings.clone()).await;
    node.publish("t", "before").await;
    node.close().await;
    disk.remount("ro");
    let error = Node::try_open(settings.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("read-only; mount it writable"), "{error}");
    disk.remount("rw");
    let node = Node::open(settings).await;
    node.publish("t", "after").await;
    assert_eq!(texts(&node.all().await), ["before", "after"]);
    assert!(node.backend.head().await.unwrap().lineage.forks.is_empty(), "one epoch");
    node.close().await;
}
