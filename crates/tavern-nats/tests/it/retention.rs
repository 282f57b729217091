//! Floors and the horizon where something else than the rules takes entries: an operator's limits, a
//! purge, the stream's own age.

use std::time::Duration;

use serde_json::{Value, json};
use tavern_backend::{Cursor, Floor, ReadQuery};
use tavern_testkit::Client;
use tavern_testkit::engine::NatsFlavor;
use tavern_testkit::say::{lane, message};
use tavern_testkit::wait::within;

use crate::stand::{LOG, Stand, on_both, reasons, settings_of_operator, store_all, texts, until};

on_both! {
    a_purge_becomes_the_horizon,
    limits_of_the_whole_stream_become_the_horizon,
    entries_that_grew_too_old_are_told_of_just_after,
    a_topic_that_is_purged_is_told_of_by_who_knew_it,
    a_stream_that_keeps_fewer_tells_its_own_floors,
}

async fn made_by_operator(flavor: NatsFlavor, change: Value) -> Stand {
    let stand = Stand::start(flavor).await;
    stand.js(&format!("STREAM.CREATE.{LOG}"), settings_of_operator(&change)).await;
    stand
}

/// A client comes back with each of the cursors (of 1, 2, …): a gap if what it has not seen of the
/// topic `t` begins at or below `floor`, and everything above that.
async fn resumes(resume: impl Fn(Cursor) -> Client, cursors: &[Cursor], floor: u32, last: u32) {
    for (n, cursor) in (1..).zip(cursors) {
        let (replay, _) = resume(*cursor).replay().await;
        let expected: &[&str] = if n < floor { &["trimmed"] } else { &[] };
        assert_eq!(reasons(&replay), expected, "behind {n}, floor {floor}");
        assert_eq!(replay.texts(), texts(n.max(floor) + 1..=last), "behind {n}, floor {floor}");
    }
}

/// Comes back to a node by its broker.
macro_rules! at {
    ($broker:expr) => {{
        let broker = $broker.clone();
        move |cursor| Client::resume(&broker, &["t"], cursor)
    }};
}

/// Purged as a whole: `Nats-Last-Sequence` of what comes next is 0, as if nothing had ever been.
async fn a_purge_becomes_the_horizon(flavor: NatsFlavor) {
    let stand =
        made_by_operator(flavor, json!({ "deny_purge": false, "deny_delete": false })).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let mut cursors = store_all(&node, 1..=6).await;
    stand.js(&format!("STREAM.PURGE.{LOG}"), Value::Null).await;
    let (broker, second) = (node.broker(), stage.node().await.broker());
    for broker in [&broker, &second] {
        resumes(at!(broker), &cursors, 6, 6).await;
    }
    cursors.extend(store_all(&node, 7..=9).await);
    let third = stage.node().await.broker();
    for broker in [&broker, &second, &third] {
        resumes(at!(broker), &cursors, 6, 9).await;
    }
    // A part of it, up to a seq.
    stand.js(&format!("STREAM.PURGE.{LOG}"), json!({ "seq": 9 })).await;
    // Those before still have what they had.
    resumes(at!(stage.node().await.broker()), &cursors, 8, 9).await;
    stage.close().await;
}

/// `max_msgs`, `max_bytes`: the oldest go, of whatever topic.
async fn limits_of_the_whole_stream_become_the_horizon(flavor: NatsFlavor) {
    for limit in [json!({ "max_msgs": 5 }), json!({ "max_bytes": 3000 })] {
        let stand = made_by_operator(flavor, limit).await;
        let stage = stand.stage();
        let node = stage.node().await;
        let cursors = store_all(&node, 1..=30).await;
        let first = stand.stream(LOG).await["state"]["first_seq"].as_u64().unwrap();
        assert!(first > 5, "{first}");
        let floor = u32::try_from(first).unwrap() - 1;
        for node in [&node, &stage.node().await] {
            resumes(at!(node.broker()), &cursors, floor, 30).await;
        }
        stage.close().await;
    }
}

/// The stream's own age, here as short as an operator may set it: right after the entries went the
/// next reader is told, and who had them all is not.
async fn entries_that_grew_too_old_are_told_of_just_after(flavor: NatsFlavor) {
    let age = Duration::from_secs(2);
    let nanos = u64::try_from(age.as_nanos()).unwrap();
    let stand =
        made_by_operator(flavor, json!({ "max_age": nanos, "duplicate_window": nanos })).await;
    let stage = stand.stage();
    let (node, idle) = (stage.node().await, stage.node().await);
    let mut cursors = store_all(&node, 1..=5).await;
    until("they are gone", || async { stand.stream(LOG).await["state"]["messages"] == 0 }).await;
    let (broker, second) = (idle.broker(), stage.node().await.broker());
    for broker in [&node.broker(), &broker, &second] {
        resumes(at!(broker), &cursors, 5, 5).await;
    }
    cursors.extend(store_all(&node, 6..=8).await);
    for broker in [&broker, &second, &stage.node().await.broker()] {
        resumes(at!(broker), &cursors, 5, 8).await;
    }
    stage.close().await;
}

/// One topic purged by hand, which the server allows only where an operator made it so. Nothing in
/// the stream tells it; a node that has seen the entries does.
async fn a_topic_that_is_purged_is_told_of_by_who_knew_it(flavor: NatsFlavor) {
    let stand = made_by_operator(flavor, json!({ "deny_purge": false })).await;
    let stage = stand.stage();
    let node = stage.node().await;
    node.store(message("other", "x")).await;
    let cursors = store_all(&node, 1..=4).await;
    node.store(message("other", "y")).await;
    let read = || async {
        let query = ReadQuery::range(0, u64::MAX);
        let page = within("a page", node.bus().read(query)).await.unwrap();
        let seqs: Vec<_> = page.entries.iter().map(|entry| entry.position.seq).collect();
        (seqs, page.floors)
    };
    assert_eq!(read().await, ((1..=6).collect(), Vec::new()), "it knows them");
    let subject = stand.subject("t").await;
    stand.js(&format!("STREAM.PURGE.{LOG}"), json!({ "filter": subject })).await;
    let floor = Floor { lane: lane("t", None), seq: 5 };
    assert_eq!(read().await, (vec![1, 6], vec![floor.clone()]));
    let after = store_all(&node, 5..=5).await;
    assert_eq!(read().await, (vec![1, 6, 7], vec![floor]));
    resumes(at!(node.broker()), &[&cursors[..], &after[..]].concat(), 4, 5).await;
    stage.close().await;
}

/// `max_msgs_per_subject` below what the rules ask for.
async fn a_stream_that_keeps_fewer_tells_its_own_floors(flavor: NatsFlavor) {
    let stand = made_by_operator(flavor, json!({ "max_msgs_per_subject": 4 })).await;
    let stage = stand.stage();
    let node = stage.node().await;
    node.store(message("other", "x")).await;
    let before = node.head().await.position;
    let cursors = store_all(&node, 1..=10).await;
    for node in [&node, &stage.node().await] {
        // The fourth only tells where the floor is.
        let broker = node.broker();
        resumes(at!(broker), &cursors, 7, 10).await;
        let mut client = Client::resume(&broker, &["other"], Cursor(before));
        assert!(client.complete_replay().await.is_empty(), "another topic has lost nothing");
    }
    stage.close().await;
}
