//! Trimmed history, and what a client is told of it.

use std::time::Duration;

use tavern_backend::{Keep, Retention};
use tavern_broker::{Broker, GapReason};

use super::history::keeping;
use crate::client::{Client, publish};
use crate::say::{filter, message};
use crate::{Node, Stage};

/// What was trimmed is a gap in front of what is left; what is not below the floor is none.
pub async fn trimmed_history_is_a_gap(stage: Stage) {
    let brokers = two_keeping(&stage, keeping(5)).await;
    let mut cursors = Vec::new();
    for n in 1..=10 {
        cursors.push(publish(&brokers[0], message("t", n.to_string())).await);
    }
    for broker in &brokers {
        for (n, cursor) in (1..).zip(&cursors) {
            let mut client = Client::resume(broker, &["t"], *cursor);
            if n >= 5 {
                let expected = (n + 1..=10).map(|n| n.to_string()).collect::<Vec<_>>();
                assert_eq!(client.complete_replay().await, expected, "behind {n}");
                continue;
            }
            let (replay, reconnected) = client.replay().await;
            assert_eq!(replay.reasons(), [GapReason::Trimmed], "behind {n}");
            let (before, gap) = &replay.gaps[0];
            assert_eq!((*before, gap.topics.as_slice()), (0, ["t".to_owned()].as_slice()));
            assert_eq!(gap.last_event_id, cursor.to_string());
            assert_eq!(replay.texts(), ["6", "7", "8", "9", "10"]);
            assert!(!reconnected.complete);
        }
    }
}

/// A quiet topic beside a busy one: the busy one's floor is no gap of the quiet one, and a resume of
/// both names the busy one only.
pub async fn hard_case_08_a_floor_is_of_its_lane(stage: Stage) {
    let brokers = two_keeping(&stage, keeping(5)).await;
    let start = publish(&brokers[0], message("quiet", "0")).await;
    publish(&brokers[0], message("quiet", "1")).await;
    for n in 0..30 {
        publish(&brokers[0], message("busy", n.to_string())).await;
    }
    publish(&brokers[0], message("quiet", "2")).await;
    for broker in &brokers {
        assert_eq!(Client::resume(broker, &["quiet"], start).complete_replay().await, ["1", "2"]);
        for wanted in [&["quiet", "busy"][..], &["*"]] {
            let (replay, _) = Client::resume(broker, wanted, start).replay().await;
            assert_eq!(replay.reasons(), [GapReason::Trimmed], "{wanted:?}");
            assert_eq!(replay.gaps[0].1.topics, ["busy"]);
            assert_eq!(replay.texts(), ["1", "25", "26", "27", "28", "29", "2"]);
        }
    }
}

/// Entries of a lane that were trimmed long ago, and a cursor behind them: no false gap.
pub async fn hard_case_08_a_cursor_behind_the_trimmed_has_no_gap(stage: Stage) {
    let brokers = two_keeping(&stage, keeping(1)).await;
    publish(&brokers[0], message("t", "10")).await;
    publish(&brokers[0], message("t", "11")).await;
    let mut twenty = None;
    for n in 0..10 {
        let cursor = publish(&brokers[0], message(&format!("other/{n}"), "x")).await;
        // Entries of others lie between it and the lane's next one.
        twenty = twenty.or(Some(cursor).filter(|_| n == 4));
    }
    let twenty = twenty.expect("published");
    publish(&brokers[0], message("t", "500")).await;
    for broker in &brokers {
        // "11" was trimmed by "500", and lies below the cursor.
        assert_eq!(Client::resume(broker, &["t"], twenty).complete_replay().await, ["500"]);
    }
}

/// What is too old is gone: a gap, and none for who has seen it.
pub async fn hard_case_08_age_is_a_gap_too(stage: Stage) {
    let age = Duration::from_millis(400);
    let rules = Retention::default().with_default(Keep::new(100, age));
    let nodes = [stage.node_keeping(rules.clone()).await, stage.node_keeping(rules).await];
    let brokers = nodes.each_ref().map(Node::broker);
    let start = publish(&brokers[0], message("t", "1")).await;
    let second = publish(&brokers[0], message("t", "2")).await;
    nodes[0].log_time_passes(age).await;
    for broker in &brokers {
        let (replay, reconnected) = Client::resume(broker, &["t"], start).replay().await;
        assert_eq!(replay.reasons(), [GapReason::Trimmed]);
        assert!(replay.messages.is_empty() && !reconnected.complete);
        assert_eq!(Client::resume(broker, &["t"], second).complete_replay().await, [""; 0]);
    }
}

/// Two nodes with different rules: one topic, one history, for every client.
pub async fn hard_case_10_clients_of_nodes_with_different_rules(stage: Stage) {
    let nodes = [
        stage.node_keeping(keeping(100)).await,
        stage.node_keeping(Retention::default().with_rule(filter("t"), Keep::live())).await,
        stage.node_keeping(keeping(1)).await,
    ];
    let brokers = nodes.each_ref().map(Node::broker);
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    let mut opening = None;
    for client in &mut clients {
        opening = Some(client.opened().await);
    }
    for n in 0..12 {
        publish(&brokers[n % 3], message("t", n.to_string())).await;
    }
    let all = (0..12).map(|n| n.to_string()).collect::<Vec<_>>();
    for client in &mut clients {
        assert_eq!(client.texts(12).await, all);
    }
    for broker in &brokers {
        let opening = opening.expect("three openings");
        assert_eq!(Client::resume(broker, &["t"], opening).complete_replay().await, all);
    }
}

async fn two_keeping(stage: &Stage, rules: Retention) -> [Broker; 2] {
    [stage.node_keeping(rules.clone()).await.broker(), stage.node_keeping(rules).await.broker()]
}
