//! The system is started anew, and may have lost what was not on the disk.

use rusqlite::Connection;
use tavern_backend::{Backend, Place, Position};
use tavern_sqlite::{Durability, SqliteConfig};

use crate::kit::{Dir, Node, soon};

/// Starts the system anew, as far as the log can tell.
fn reboot(dir: &Dir) {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let conn = Connection::open(dir.db()).unwrap();
    let changed = conn
        .execute(
            "UPDATE state SET incarnation = replace(incarnation, ?1, 'the boot before')
             WHERE instr(incarnation, ?1)",
            [boot.trim()],
        )
        .unwrap();
    assert_eq!(changed, 1);
}

/// Publishes on a node of its own.
async fn publish(config: SqliteConfig, texts: impl IntoIterator<Item = u64>) -> Option<Position> {
    let node = Node::open(config).await;
    let mut last = None;
    for text in texts {
        last = Some(node.publish("t", &text.to_string()).await);
    }
    node.close().await;
    last
}

/// What a position of before means after the system was started anew and `now` wrote.
async fn place(now: SqliteConfig, before: Position) -> (Position, Place) {
    let node = Node::open(now).await;
    let new = node.publish("t", "new").await;
    assert_ne!(new.epoch, before.epoch);
    let again = node.publish("t", "again").await;
    assert_eq!(again.epoch, new.epoch, "one epoch for one start");
    let head = soon("the head", node.backend.head()).await.unwrap();
    node.close().await;
    (new, head.lineage.locate(before, head.position.seq))
}

#[tokio::test]
async fn what_a_power_cut_took_under_normal_is_told_although_nothing_else_remembers_it() {
    let dir = Dir::new();
    let normal = || dir.config().with_durability(Durability::Normal);
    let lock = dir.path().join("log.db-lock");
    let fifth = publish(normal(), 1..=5).await.unwrap();
    // What the disk has of both files; the rest is in the memory of the system.
    let (on_disk, fence_on_disk) =
        (std::fs::read(dir.db()).unwrap(), std::fs::read(&lock).unwrap());
    let tenth = publish(normal(), 6..=10).await.unwrap();
    std::fs::write(dir.db(), on_disk).unwrap();
    std::fs::write(lock, fence_on_disk).unwrap();
    reboot(&dir);

    let (new, place) = place(normal(), fifth).await;
    assert_eq!(new.seq, 6);
    assert_eq!(place, Place::At { seq: 5, lost: Some(5) }, "who had 5 is told of a gap");
    let node = dir.node().await;
    let lineage = soon("the head", node.backend.head()).await.unwrap().lineage;
    assert_eq!(lineage.locate(tenth, 7), Place::Beyond { fork: 5 });
    node.close().await;
}

#[tokio::test]
async fn under_full_a_start_of_the_system_loses_nothing_and_no_gap_is_told() {
    let dir = Dir::new();
    let fifth = publish(dir.config(), 1..=5).await.unwrap();
    reboot(&dir);
    let (_, place) = place(dir.config(), fifth).await;
    assert_eq!(place, Place::At { seq: 5, lost: None });
}

#[tokio::test]
async fn one_node_under_normal_is_enough_to_lose_something() {
    let dir = Dir::new();
    publish(dir.config(), 1..=2).await;
    publish(dir.config().with_durability(Durability::Normal), 3..=4).await;
    let fifth = publish(dir.config(), 5..=5).await.unwrap();
    reboot(&dir);
    let (_, place) = place(dir.config(), fifth).await;
    assert_eq!(place, Place::At { seq: 5, lost: Some(5) });
}
