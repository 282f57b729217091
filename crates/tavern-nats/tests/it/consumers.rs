//! What reading leaves behind on the server: nothing. And the server's clock, which is learnt with a
//! consumer where the server does not tell it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tavern_backend::{Bus, ReadQuery};
use tavern_testkit::engine::NatsFlavor;
use tavern_testkit::say::{filters, message};
use tavern_testkit::wait::within;
use tavern_testkit::{Client, publish_all};

use crate::stand::{LOG, META, Stand, on_both, store, until};

on_both! {
    hundreds_of_reads_and_resumes_leave_no_consumer,
    the_servers_clock_is_the_logs_clock,
}

/// Consumers on both streams.
async fn consumers(stand: &Stand) -> u64 {
    let mut count = 0;
    for stream in [LOG, META] {
        count += stand.stream(stream).await["state"]["consumer_count"].as_u64().unwrap();
    }
    count
}

/// At once, by nodes that know nothing yet and that do, of everything and of few topics, some given
/// up in the middle.
async fn hundreds_of_reads_and_resumes_leave_no_consumer(flavor: NatsFlavor) {
    const MESSAGES: usize = 3000;
    const AT_ONCE: usize = 24;
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let envelopes = (0..MESSAGES).map(|n| message(&format!("t/{}", n % 50), n.to_string()));
    let cursors = publish_all(&broker, envelopes.collect()).await;
    let mut reads = tokio::task::JoinSet::new();
    let turns = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut given_up = 0;
    for n in 0..200_u64 {
        let bus = if n % 20 == 0 { stand.bus().await } else { node.bus().clone() };
        let query = ReadQuery::range(n * 14, u64::MAX);
        let one_topic = Arc::new(filters(&["t/7"]));
        let query = if n % 3 == 0 { query.with_filters(one_topic) } else { query };
        let patience = Duration::from_millis(if n % 4 == 0 { n / 20 } else { 15_000 });
        let turns = Arc::clone(&turns);
        reads.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let read = tokio::time::timeout(patience, bus.read(query)).await;
            read.map(|page| page.unwrap().entries.len()).ok()
        });
    }
    for read in within("all reads", reads.join_all()).await {
        match read {
            Some(entries) => assert!(entries > 0),
            None => given_up += 1,
        }
    }
    assert!(given_up > 10, "some were given up: {given_up}");
    let mut resumes = tokio::task::JoinSet::new();
    for cursor in cursors.into_iter().step_by(30) {
        let broker = broker.clone();
        resumes.spawn(async move {
            let mut client = Client::resume(&broker, &["t/1", "t/2"], cursor);
            client.complete_replay().await;
        });
    }
    within("all resumes", resumes.join_all()).await;
    // One that was given up ends by itself when nobody has asked it for five seconds.
    until("no consumer is left", || async { consumers(&stand).await == 0 }).await;
    stage.close().await;
}

/// NATS 2.9 does not tell its time with what it answers.
async fn the_servers_clock_is_the_logs_clock(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let bus: Bus = stand.bus().await;
    let real = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        i64::try_from(since.as_millis()).unwrap()
    };
    for _ in 0..3 {
        let before = real();
        let now = within("the head", bus.head()).await.unwrap().now.as_millis();
        let after = real();
        assert!((before - 1000..=after + 1000).contains(&now), "{before} {now} {after}");
        let seq = store(&bus, message("t", "x")).await;
        let page = bus.read(ReadQuery::range(seq - 1, seq)).await.unwrap();
        let appended = page.entries[0].appended.as_millis();
        assert!((before - 1000..=real() + 1000).contains(&appended), "{before} {appended}");
    }
    bus.close().await.unwrap();
}
