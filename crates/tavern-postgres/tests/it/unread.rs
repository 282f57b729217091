//! Feeds that nobody reads, or that bring much.

use std::time::Duration;

use tavern_backend::{Append, Backend as _, FeedEvent, Publication, ReadQuery};
use tavern_testkit::say::{filter, message};
use tavern_testkit::wait::{eventually, within};

use crate::relay::Relay;
use crate::stand::{Stand, store, until};

/// A process that only publishes: more outages than notices that wait anywhere, with a full feed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_do_not_end_a_node_whose_feed_nobody_reads() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    bus.add_interest(&[filter("**")]).await.unwrap();
    for n in 0..200 {
        store(&bus, message("t", n.to_string())).await;
    }
    for round in 0..24 {
        let connects = bus.health().get().connects;
        stand
            .psql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name LIKE 'tavern-%'",
            )
            .await;
        let health = bus.health();
        eventually(&format!("the link of round {round} is another one"), || {
            let now = health.get();
            now.up && now.connects > connects
        })
        .await;
        store(&bus, message("t", "again")).await;
    }
    bus.close().await.unwrap();
}

/// Large messages that all wait are not fetched at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_at_once_is_bounded_in_bytes() {
    const MESSAGES: u64 = 40;
    let stand = Stand::start().await.with(|config| {
        config.max_payload = 1 << 20;
        config.timeout = Duration::from_secs(30);
        config.sweep_interval = Duration::from_secs(60);
    });
    let node = stand.open().await.unwrap();
    let mut feed = node.feed().unwrap();
    node.subscribe(&[filter("**")]).await.unwrap();
    let holder = stand.sql().await;
    holder.run("BEGIN; LOCK TABLE tavern.live IN ACCESS EXCLUSIVE MODE").await;
    until("the log is not followed", || async {
        let waits = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
                     WHERE NOT granted AND query LIKE '%tavern.follow%' AND pid <> pg_backend_pid()";
        stand.psql(waits).await == "1"
    })
    .await;
    let publisher = tavern_backend::NodeId::random().unwrap();
    for counter in 1..=MESSAGES {
        let publication = Publication {
            key: tavern_backend::Origin { node: publisher, counter },
            // What cannot be compressed.
            envelope: message("t", noise(1 << 20)),
            accepted: tokio::time::Instant::now(),
        };
        let append = Append { known: None, publications: vec![publication] };
        within("a publish", node.publish(append)).await.unwrap();
    }
    holder.run("COMMIT").await;
    let (mut seen, mut most) = (0, 0);
    while seen < MESSAGES {
        let batch = within("what was published", feed.recv()).await.unwrap();
        let sizes = batch.iter().filter_map(|event| match event {
            FeedEvent::Entry(entry) => Some(entry.record.envelope.data.len()),
            _ => None,
        });
        seen += u64::try_from(sizes.clone().count()).unwrap();
        most = sizes.sum::<usize>().max(most);
    }
    assert!(most > 1 << 20, "some come together: {most}");
    assert!(most <= 9 << 20, "{most}");
    node.close().await.unwrap();
}

fn noise(size: usize) -> String {
    (0..size).map(|_| fastrand::alphanumeric()).collect()
}

/// What it is behind takes much longer to come than the patience for one answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_a_slow_line_is_behind_and_stays() {
    const MESSAGES: usize = 160;
    let stand = Stand::start().await;
    let port = stand.server.port();
    let relay = Relay::with_pause(move |_| port, Duration::from_millis(4)).await;
    let slow = stand.at(relay.url()).with(|config| config.timeout = Duration::from_millis(800));
    let node = slow.open().await.unwrap();
    let (mut feed, health) = (node.feed().unwrap(), node.health());
    let before = node.subscribe(&[filter("**")]).await.unwrap().seq;
    let bus = stand.bus().await;
    let mut together = tokio::task::JoinSet::new();
    for _ in 0..MESSAGES {
        together.spawn(store(&bus, message("t", noise(60 << 10))));
    }
    within("they are stored", together.join_all()).await;
    let mut seqs = Vec::new();
    while seqs.len() < MESSAGES {
        for event in within("what was published", feed.recv()).await.unwrap() {
            match event {
                FeedEvent::Entry(entry) => seqs.push(entry.position.seq),
                FeedEvent::LinkLost { reason } => panic!("the link is lost: {reason}"),
                _ => {}
            }
        }
    }
    assert_eq!(seqs, (before + 1..).take(MESSAGES).collect::<Vec<_>>());
    // As much as comes in time.
    let (mut after, mut read) = (before, 0);
    while read < MESSAGES {
        let page = within("a page", node.read(ReadQuery::range(after, u64::MAX))).await.unwrap();
        (after, read) = (page.to, read + page.entries.len());
    }
    assert_eq!(health.get().connects, 1, "the link is the same");
    node.close().await.unwrap();
    bus.close().await.unwrap();
}
