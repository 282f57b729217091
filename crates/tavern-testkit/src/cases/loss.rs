//! Promise 3: what a push lost is found, whatever lost it.

use std::time::Duration;

use tavern_broker::{Delivery, GapReason};

use super::order::{increasing, two};
use crate::Stage;
use crate::client::{Client, publish, publish_all};
use crate::process::Process;
use crate::say::message;
use crate::wait::{eventually, within};

/// Pushes lost with the connection up, another topic's push behind them: the client gets them first.
pub async fn hard_case_01_pushes_lost_in_the_middle(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut both = Client::fresh(&brokers[1], &["a", "b"]);
    let mut wild = Client::fresh(&brokers[1], &["**"]);
    both.opened().await;
    wild.opened().await;
    publish(&brokers[0], message("a", "1")).await;
    assert_eq!(both.texts(1).await, ["1"]);
    nodes[1].cable().lose_next(2);
    for (topic, text) in [("a", "2"), ("a", "3"), ("b", "4"), ("a", "5")] {
        publish(&brokers[0], message(topic, text)).await;
    }
    assert_eq!(both.texts(4).await, ["2", "3", "4", "5"]);
    assert_eq!(wild.texts(5).await, ["1", "2", "3", "4", "5"]);
    assert!(nodes[1].cable().calls().swallowed >= 2, "the cable lost them");
}

/// The last pushes are lost and nothing follows: they are missed all the same.
pub async fn hard_case_01_pushes_lost_at_the_tail(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["a"]);
    client.opened().await;
    publish(&brokers[0], message("a", "1")).await;
    assert_eq!(client.texts(1).await, ["1"]);
    nodes[1].cable().lose_next(2);
    publish(&brokers[0], message("a", "2")).await;
    publish(&brokers[0], message("a", "3")).await;
    assert_eq!(client.texts(2).await, ["2", "3"]);
}

/// A feed on which nothing arrives any more: everything is delivered all the same.
pub async fn a_deaf_feed_is_noticed(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["a"]);
    client.opened().await;
    nodes[1].cable().lose(|_| true);
    for n in 0..30 {
        publish(&brokers[0], message("a", n.to_string())).await;
    }
    assert_eq!(client.texts(30).await, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Each push comes twice: each message comes once.
pub async fn duplicated_pushes_are_delivered_once(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["a", "b"]);
    client.opened().await;
    nodes[1].cable().duplicate_next(100);
    for n in 0..60 {
        publish(&brokers[0], message(["a", "b"][n % 2], n.to_string())).await;
    }
    assert_eq!(client.texts(60).await, (0..60).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Pushes out of order: messages in order.
pub async fn reordered_pushes_are_delivered_in_order(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["**"]);
    client.opened().await;
    nodes[1].cable().reorder(8, 1);
    let envelopes = (0..200).map(|n| message(&format!("t/{}", n % 5), n.to_string()));
    publish_all(&brokers[0], envelopes.collect()).await;
    assert_eq!(client.texts(200).await, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Pushes lost, repeated and shuffled at once, twenty times over, each time another way: three
/// kinds of subscribers, each complete, in order, once.
pub async fn pushes_lost_repeated_and_shuffled(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut one = Client::fresh(&brokers[1], &["t/1"]);
    let mut two_of = Client::fresh(&brokers[1], &["t/0", "t/2"]);
    let mut wild = Client::fresh(&brokers[1], &["t/*"]);
    for client in [&mut one, &mut two_of, &mut wild] {
        client.opened().await;
    }
    for seed in 0..20 {
        let cable = nodes[1].cable();
        cable.lose_one_in(4, seed);
        cable.duplicate_next(10);
        cable.reorder(1 + usize::try_from(seed % 7).unwrap_or(0), seed);
        let texts = |wanted: &[u64]| {
            let mine = (0..40).filter(|n| wanted.contains(&(n % 3)));
            mine.map(|n| format!("{seed}:{n}")).collect::<Vec<_>>()
        };
        let envelopes = (0..40).map(|n| message(&format!("t/{}", n % 3), format!("{seed}:{n}")));
        publish_all(&brokers[0], envelopes.collect()).await;
        assert_eq!(wild.texts(40).await, texts(&[0, 1, 2]));
        assert_eq!(one.texts(13).await, texts(&[1]));
        assert_eq!(two_of.texts(27).await, texts(&[0, 2]));
    }
}

/// The receiving node's link flaps while 1,000 messages are published: each comes once, in order,
/// and clients are told that the backend went and came.
pub async fn a_link_lost_and_back_loses_nothing(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t/*"]);
    client.opened().await;
    publish(&brokers[0], message("t/0", "first")).await;
    assert_eq!(client.texts(1).await, ["first"]);
    nodes[1].cable().cut();
    let envelopes = (0..1000).map(|n| message(&format!("t/{}", n % 9), n.to_string()));
    publish_all(&brokers[0], envelopes.collect()).await;
    within("the cable heals", nodes[1].cable().heal()).await.expect("healed");
    let (mut messages, mut degraded, mut recovered) = (Vec::new(), 0, 0);
    while messages.len() < 1000 || recovered == 0 {
        match client.next("1,000 messages and the news of the link").await {
            Some(Delivery::Message(message)) => messages.push(message),
            Some(Delivery::Degraded(_)) => degraded += 1,
            Some(Delivery::Recovered(_)) => recovered += 1,
            Some(Delivery::Cursor(_)) => {}
            other => panic!("messages and news, not {other:?}"),
        }
    }
    increasing(&messages);
    let texts = messages.iter().map(|m| m.data().as_str().to_owned());
    assert_eq!(texts.collect::<Vec<_>>(), (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!((degraded, recovered), (1, 1), "told once each");
}

/// While the link is down no patience runs out: what is missing is waited for.
pub async fn hard_case_17_no_clock_runs_while_the_link_is_down(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let patience = Duration::from_millis(150);
    let publisher = nodes[0].broker();
    let broker = nodes[1].broker_with(|config| config.repair_patience = patience);
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    nodes[1].cable().hang_reads();
    nodes[1].cable().lose_next(1);
    publish(&publisher, message("t", "1")).await;
    nodes[1].cable().cut();
    publish(&publisher, message("t", "2")).await;
    // Not a wait for something: the time that must not count.
    tokio::time::sleep(patience * 4).await;
    nodes[1].cable().mend_reads();
    within("the cable heals", nodes[1].cable().heal()).await.expect("healed");
    assert_eq!(client.texts(2).await, ["1", "2"]);
}

/// A hole whose history read hangs: the others go on after the patience, behind a gap, for good.
pub async fn hard_case_17_a_hole_that_cannot_be_read_becomes_a_gap(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let publisher = nodes[0].broker();
    let broker = nodes[1].broker_with(|config| config.repair_patience = Duration::from_millis(300));
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&publisher, message("t", "1")).await;
    assert_eq!(client.texts(1).await, ["1"]);
    nodes[1].cable().hang_reads();
    nodes[1].cable().lose_next(1);
    publish(&publisher, message("t", "lost")).await;
    publish(&publisher, message("t", "3")).await;
    let gap = client.gap().await;
    assert_eq!(gap.reason, GapReason::Outage);
    assert_eq!(client.texts(1).await, ["3"]);
    nodes[1].cable().mend_reads();
    publish(&publisher, message("t", "4")).await;
    assert_eq!(client.texts(1).await, ["4"], "what became a gap stays one");
    assert!(broker.status().counters.holes_lost >= 1);
}

/// A history read that fails a few times is tried again: no gap.
pub async fn hard_case_17_a_read_that_fails_is_tried_again(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    nodes[1].cable().fail_reads(3);
    nodes[1].cable().lose_next(2);
    for n in 1..=4 {
        publish(&brokers[0], message("t", n.to_string())).await;
    }
    assert_eq!(client.texts(4).await, ["1", "2", "3", "4"]);
}

/// A flood above a hole that takes long to read: what waits is bounded, and nothing is lost.
pub async fn hard_case_17_a_flood_above_a_hole(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let publisher = nodes[0].broker();
    let broker = nodes[1].broker_with(|config| {
        config.pending_entries = 64;
        config.repair_patience = Duration::from_secs(60);
    });
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    nodes[1].cable().hang_reads();
    nodes[1].cable().lose_next(2);
    let envelopes = (0..2000).map(|n| message("t", n.to_string()));
    publish_all(&publisher, envelopes.collect()).await;
    eventually("more than fits above the hole", || broker.status().counters.pending_overflow > 0)
        .await;
    nodes[1].cable().mend_reads();
    assert_eq!(client.texts(2000).await, (0..2000).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// An entry that this version cannot read keeps its seq: a gap in its place, and the others whole.
pub async fn hard_case_26_an_undecodable_entry_is_a_gap_in_its_place(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    let mut other = Client::fresh(&brokers[1], &["other"]);
    let opening = client.opened().await;
    other.opened().await;
    nodes[1].cable().spoil(|entry| entry.envelope().data.as_str() == "from the future");
    for text in ["1", "from the future", "3"] {
        publish(&brokers[0], message("t", text)).await;
    }
    publish(&brokers[0], message("other", "x")).await;
    assert_eq!(client.texts(1).await, ["1"]);
    let gap = client.gap().await;
    assert_eq!(
        (gap.reason, gap.topics.as_slice()),
        (GapReason::Format, ["t".to_owned()].as_slice())
    );
    assert_eq!(client.texts(1).await, ["3"]);
    assert_eq!(other.texts(1).await, ["x"], "no gap for who does not follow the topic");
    // The same on replay.
    let (replay, reconnected) = Client::resume(&brokers[1], &["t"], opening).replay().await;
    assert_eq!(replay.texts(), ["1", "3"]);
    assert!(
        matches!(replay.gaps.as_slice(), [(1, gap)] if gap.reason == GapReason::Format),
        "{replay:?}"
    );
    assert!(!reconnected.complete);
    assert!(!brokers[1].readiness().ready, "a node that cannot read the log is not ready");
    assert!(brokers[0].readiness().ready, "one that can is");
}

/// A process that stood still finds its clocks run out all at once: it declares nothing lost.
pub async fn hard_case_16_a_pause_of_the_process_loses_nothing(stage: Stage) {
    let (other, node) = (stage.node().await, stage.node().await);
    let (publisher, cable) = (other.broker(), node.cable().clone());
    let patience = Duration::from_secs(1);
    // All that this node does runs on one thread, which then stands still.
    let process = Process::start();
    let (broker, mut client) = process
        .run(async move {
            let broker = node.broker_with(|config| config.repair_patience = patience);
            let mut client = Client::fresh(&broker, &["t"]);
            client.opened().await;
            (broker, client)
        })
        .await;
    cable.hang_reads();
    cable.lose_next(1);
    let before = cable.calls().read;
    publish(&publisher, message("t", "1")).await;
    publish(&publisher, message("t", "2")).await;
    eventually("the hole is being read", || cable.calls().read > before).await;
    let paused = process.stand_still(patience * 5 / 2);
    cable.mend_reads();
    within("the pause ends", paused).await;
    let texts = process.run(async move { client.texts(2).await }).await;
    assert_eq!(texts, ["1", "2"]);
    within("close", broker.close()).await;
}
