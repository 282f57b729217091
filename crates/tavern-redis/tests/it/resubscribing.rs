//! Interest: very much of it, and what comes and goes at once.

use std::time::Duration;

use tavern_backend::FeedEvent;
use tavern_testkit::engine::RedisOptions;
use tavern_testkit::say::{filter, message};
use tavern_testkit::wait::within;
use tokio::time::Instant;

use crate::stand::{Stand, store, until};

/// After a reconnect 100,000 topics are subscribed again before the link is said to be up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_topics_are_subscribed_again_at_once() {
    const TOPICS: usize = 100_000;
    let stand = Stand::start().await.with(|config| config.timeout = Duration::from_secs(10));
    let (bus, other) = (stand.bus().await, stand.bus().await);
    let mut feed = bus.feed().unwrap();
    let filters: Vec<_> = (0..TOPICS).map(|n| filter(&format!("room/{n}/events"))).collect();
    let begun = Instant::now();
    within("100,000 topics", bus.add_interest(&filters)).await.unwrap();
    let first = begun.elapsed();
    let channels = || async {
        let stats = stand.server.connect().await.unwrap().call(&["INFO", "stats"]).await.unwrap();
        let line = stats.text();
        let line =
            line.lines().find_map(|line| line.strip_prefix("pubsub_channels:")).unwrap().to_owned();
        line.trim().parse::<usize>().unwrap()
    };
    assert_eq!(channels().await, TOPICS + 1, "and the spine");
    let connects = bus.health().get().connects;
    let begun = Instant::now();
    let id = stand.say(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    let mine = format!("name=tavern-{}", bus.node());
    let id = id.lines().find(|line| line.contains(&mine)).unwrap();
    let id = id.split(' ').next().unwrap().strip_prefix("id=").unwrap();
    stand.say(&["CLIENT", "KILL", "ID", id]).await;
    until("the link is back", || async {
        let health = bus.health().get();
        health.up && health.connects > connects
    })
    .await;
    let again = begun.elapsed();
    assert_eq!(channels().await, TOPICS + 1, "all are confirmed when it says that it is up");
    println!("100,000 topics: subscribed in {first:?}, again after a reconnect in {again:?}");
    // What comes then comes by push: as an entry, not as a skip.
    let seq = store(&other, message(&format!("room/{}/events", TOPICS - 1), "x")).await;
    within("the entry is pushed", async {
        loop {
            for event in feed.recv().await.unwrap() {
                match event {
                    FeedEvent::Entry(entry) if entry.position.seq == seq => return,
                    FeedEvent::Skip { from, to, .. } => assert!(!(from..=to).contains(&seq)),
                    _ => {}
                }
            }
        }
    })
    .await;
    let limit = if cfg!(debug_assertions) { 10 } else { 2 };
    assert!(again < Duration::from_secs(limit), "{again:?}");
    within("the nodes close", async {
        other.close().await.unwrap();
        bus.close().await.unwrap();
    })
    .await;
}

/// Interest that comes and goes in the same moment leaves no channel behind, and none out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interest_that_comes_and_goes_at_once_ends_as_it_came_last() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    for n in 0..200 {
        let on = [filter(&format!("gone/{n}"))];
        let off = [filter(&format!("stays/{n}"))];
        within("interest", bus.add_interest(&off)).await.unwrap();
        let (added, removed, left, back) = within("interest", async {
            // Polled in this order, so queued in it.
            tokio::join!(
                bus.add_interest(&on),
                bus.remove_interest(&on),
                bus.remove_interest(&off),
                bus.add_interest(&off),
            )
        })
        .await;
        added.unwrap();
        removed.unwrap();
        left.unwrap();
        back.unwrap();
    }
    let channels = stand.server.cli(&["PUBSUB", "CHANNELS", "*"]).await.unwrap();
    let channels: Vec<_> = channels.items().iter().map(|item| item.text()).collect();
    let count = |part: &str| channels.iter().filter(|channel| channel.contains(part)).count();
    assert_eq!((count(":t:gone/"), count(":t:stays/"), count(":spine")), (0, 200, 1));
    bus.close().await.unwrap();
}

/// What a topic costs the server, for the documentation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_of_a_topic() {
    const TOPICS: usize = 20_000;
    // A server makes room for entries to come, as much as this option says and 4 KiB at most.
    let roomy = bytes_of_a_topic(TOPICS, "stream-node-max-bytes 4096").await;
    let tight = bytes_of_a_topic(TOPICS, "stream-node-max-bytes 512").await;
    println!("topics with an entry of 100 bytes: {roomy} bytes each, or {tight}");
    assert!(100 < tight && tight < roomy, "{tight} {roomy}");
}

async fn bytes_of_a_topic(topics: usize, option: &str) -> usize {
    let stand = Stand::start_with(RedisOptions::default().with_config(option)).await;
    let bus = stand.bus().await;
    let used =
        || async { stand.server.info("used_memory").await.unwrap().parse::<usize>().unwrap() };
    let before = used().await;
    for from in (0..topics).step_by(1000) {
        let publications = (from..from + 1000).map(|n| tavern_backend::Publication {
            key: bus.next_key(),
            envelope: message(&format!("room/{n}/events"), "x".repeat(100)),
            accepted: Instant::now(),
        });
        let append = tavern_backend::Append { known: None, publications: publications.collect() };
        within("a batch", bus.append(append)).await.unwrap();
    }
    let after = used().await;
    bus.close().await.unwrap();
    (after - before) / topics
}
