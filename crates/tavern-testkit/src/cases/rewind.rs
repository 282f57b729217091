//! Logs that lost their tail, as clients see it.

use tavern_backend::Cursor;
use tavern_broker::{Broker, GapReason};

use super::order::two;
use crate::client::{Client, publish};
use crate::say::message;
use crate::wait::within;
use crate::{Node, Stage};

/// Nobody remembers the lost tail: a client within what is left goes on in silence, one beyond it
/// gets a gap and what came after the fork.
pub async fn hard_case_06_cursors_around_the_fork(stage: Stage) {
    let (cursors, [first, second]) = rewound_at_five_of_ten(&stage).await;
    for n in 6..=12 {
        publish(&first, message("t", format!("new {n}"))).await;
    }
    let new = (6..=12).map(|n| format!("new {n}")).collect::<Vec<_>>();
    for broker in [&first, &second] {
        for (n, cursor) in (1..).zip(&cursors) {
            let mut client = Client::resume(broker, &["t"], *cursor);
            if n <= 5 {
                let old = (n + 1..=5).map(|n| n.to_string());
                let expected = old.chain(new.iter().cloned()).collect::<Vec<_>>();
                assert_eq!(client.complete_replay().await, expected, "behind {n}");
                continue;
            }
            let (replay, reconnected) = client.replay().await;
            assert_eq!(replay.reasons(), [GapReason::Epoch], "behind {n}, which is lost");
            assert_eq!(replay.gaps[0].0, 0, "the gap comes first");
            assert_eq!(replay.texts(), new, "behind {n}");
            assert!(!reconnected.complete);
            let after = Client::resume(broker, &["t"], reconnected.cursor).complete_replay().await;
            assert_eq!(after, [""; 0], "told once");
        }
    }
}

/// Nothing was published since the rewind, so there is no new epoch yet: what is beyond the head is
/// gone all the same.
pub async fn hard_case_06_cursors_before_anything_is_new(stage: Stage) {
    let (cursors, [first, _]) = rewound_at_five_of_ten(&stage).await;
    let beyond = Client::resume(&first, &["t"], cursors[9]);
    let within_it = Client::resume(&first, &["t"], cursors[2]).complete_replay().await;
    assert_eq!(within_it, ["4", "5"]);
    let mut beyond = beyond;
    let (replay, _) = beyond.replay().await;
    assert_eq!(replay.reasons(), [GapReason::Epoch]);
    assert!(replay.messages.is_empty());
    publish(&first, message("t", "new")).await;
    assert_eq!(beyond.texts(1).await, ["new"]);
}

/// Clients that are connected while the log loses its tail behind their node's back: told, in
/// place, and then they get what is new.
pub async fn hard_case_06_connected_clients_are_told(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    for client in &mut clients {
        client.opened().await;
    }
    for n in 1..=5 {
        publish(&brokers[0], message("t", n.to_string())).await;
    }
    stage.checkpoint().await;
    for n in 6..=10 {
        publish(&brokers[0], message("t", n.to_string())).await;
    }
    for client in &mut clients {
        let all = (1..=10).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(client.texts(10).await, all);
    }
    stage.rewind().await;
    for n in 6..=12 {
        publish(&brokers[1], message("t", format!("new {n}"))).await;
    }
    for client in &mut clients {
        assert_eq!(client.gap().await.reason, GapReason::Epoch);
        let new = (6..=12).map(|n| format!("new {n}")).collect::<Vec<_>>();
        assert_eq!(client.texts(7).await, new);
    }
}

/// A node saw the entries that were lost and says so: a client that was *below* the fork, for whom
/// every check passes, is told that acknowledged entries are gone.
pub async fn hard_case_06_a_client_below_the_fork_is_told_of_the_loss(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut witness = Client::fresh(&brokers[1], &["t"]);
    witness.opened().await;
    let mut cursors = Vec::new();
    for n in 1..=5 {
        cursors.push(publish(&brokers[0], message("t", n.to_string())).await);
    }
    stage.checkpoint().await;
    for n in 6..=10 {
        cursors.push(publish(&brokers[0], message("t", n.to_string())).await);
    }
    assert_eq!(witness.texts(10).await.last().map(String::as_str), Some("10"));
    stage.rewind().await;
    let new = publish(&brokers[0], message("t", "new")).await;
    assert_ne!(new.0.epoch, cursors[0].0.epoch);
    assert_eq!(witness.gap().await.reason, GapReason::Epoch);
    // Another node, which knows nothing but what the log says.
    let other = stage.node().await.broker();
    let (replay, reconnected) = Client::resume(&other, &["t"], cursors[3]).replay().await;
    assert_eq!(replay.reasons(), [GapReason::Epoch], "acknowledged entries were lost behind 4");
    assert_eq!(replay.texts(), ["5", "new"]);
    assert!(!reconnected.complete);
    let after = Client::resume(&other, &["t"], reconnected.cursor).complete_replay().await;
    assert_eq!(after, [""; 0], "told once");
}

/// The whole log is lost: every cursor of before is a gap, new ones work.
pub async fn hard_case_06_the_whole_log_is_lost(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let opening = Client::fresh(&brokers[0], &["t"]).opened().await;
    stage.checkpoint().await;
    let mut cursors = Vec::new();
    for n in 1..=5 {
        cursors.push(publish(&brokers[0], message("t", n.to_string())).await);
    }
    for broker in &brokers {
        within("a broker closes", broker.close()).await;
    }
    stage.close().await;
    stage.rewind().await;
    let (_nodes, brokers) = two(&stage).await;
    let first = publish(&brokers[0], message("t", "new")).await;
    for cursor in cursors {
        let (replay, _) = Client::resume(&brokers[1], &["t"], cursor).replay().await;
        assert_eq!(replay.reasons(), [GapReason::Epoch]);
        assert_eq!(replay.texts(), ["new"]);
    }
    let from_opening = Client::resume(&brokers[1], &["t"], opening).replay().await.0;
    assert_eq!(from_opening.texts(), ["new"]);
    publish(&brokers[1], message("t", "newer")).await;
    assert_eq!(Client::resume(&brokers[1], &["t"], first).complete_replay().await, ["newer"]);
}

/// Five messages, a checkpoint, five more, which are lost with everybody who knew of them. Returns
/// the ten cursors and two new nodes' brokers.
async fn rewound_at_five_of_ten(stage: &Stage) -> (Vec<Cursor>, [Broker; 2]) {
    // Without a broker, so that no entry of Tavern's own is among them.
    let node = stage.node().await;
    let mut cursors = Vec::new();
    for n in 1..=5 {
        cursors.push(Cursor(node.store(message("t", n.to_string())).await));
    }
    stage.checkpoint().await;
    for n in 6..=10 {
        cursors.push(Cursor(node.store(message("t", n.to_string())).await));
    }
    stage.close().await;
    stage.rewind().await;
    let nodes = [stage.node().await, stage.node().await];
    (cursors, nodes.each_ref().map(Node::broker))
}
