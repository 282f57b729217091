//! Snapshots: on connect and on a gap, never on a resume that is whole.

use std::sync::{Arc, Mutex, PoisonError};

use tavern_broker::{Broker, Delivery, Event, GapReason, SnapshotReason};

use super::history::keeping;
use crate::client::{Client, publish};
use crate::say::message;
use crate::{Node, Stage};

/// A fresh subscriber gets the snapshot first; what is published while it is made comes after it.
pub async fn a_fresh_subscriber_begins_with_a_snapshot(stage: Stage) {
    let (publisher, asked, broker) = with_snapshots(&stage).await;
    let mut client = Client::fresh(&broker, &["t"]);
    match client.next("the snapshot").await {
        Some(Delivery::Snapshot(snapshot)) => {
            assert_eq!((snapshot.topic.as_str(), snapshot.data.as_str()), ("t", "state"));
        }
        other => panic!("the snapshot, not {other:?}"),
    }
    client.opened().await;
    // Published by the callback itself.
    assert_eq!(client.texts(1).await, ["meanwhile 0"]);
    publish(&publisher, message("t", "x")).await;
    assert_eq!(client.texts(1).await, ["x"]);
    assert_eq!(*asked.lock().unwrap_or_else(PoisonError::into_inner), [SnapshotReason::Connect]);
}

/// A resume that is whole is not asked for a snapshot; one with a gap is bridged by it and says that
/// it is complete.
pub async fn a_gap_is_bridged_by_a_snapshot(stage: Stage) {
    let (publisher, asked, broker) = with_snapshots(&stage).await;
    let start = publish(&publisher, message("t", "0")).await;
    let mut whole = start;
    for n in 1..=9 {
        whole = publish(&publisher, message("t", n.to_string())).await;
    }
    assert_eq!(Client::resume(&broker, &["t"], whole).complete_replay().await, [""; 0]);
    assert!(asked.lock().unwrap_or_else(PoisonError::into_inner).is_empty(), "not asked");
    let mut client = Client::resume(&broker, &["t"], start);
    let (replay, reconnected) = client.replay().await;
    assert_eq!(replay.reasons(), [GapReason::Trimmed]);
    let snapshots = replay.snapshots.iter().map(|s| s.data.as_str()).collect::<Vec<_>>();
    assert_eq!(snapshots, ["state"]);
    assert!(reconnected.complete, "bridged");
    assert_eq!(replay.gaps[0].0, 0, "the gap comes before any message");
    // The state is of the moment it was asked for, or later: what was published meanwhile follows.
    let mut texts = replay.texts().into_iter().map(ToOwned::to_owned).collect::<Vec<_>>();
    if !texts.contains(&"meanwhile 0".to_owned()) {
        texts.extend(client.texts(1).await);
    }
    assert_eq!(texts.last().map(String::as_str), Some("meanwhile 0"));
    let gap = SnapshotReason::Gap(GapReason::Trimmed);
    assert_eq!(*asked.lock().unwrap_or_else(PoisonError::into_inner), [gap]);
}

type Asked = Arc<Mutex<Vec<SnapshotReason>>>;

/// A publisher, what the callback was asked, and a broker with a callback that publishes.
async fn with_snapshots(stage: &Stage) -> (Broker, Asked, Broker) {
    let nodes = [stage.node_keeping(keeping(3)).await, stage.node_keeping(keeping(3)).await];
    let (publisher, asked) = (Node::broker(&nodes[0]), Asked::default());
    let (other, noted) = (publisher.clone(), Arc::clone(&asked));
    let broker = nodes[1].builder(|_| {}).snapshot(move |request| {
        let (publisher, asked) = (other.clone(), Arc::clone(&noted));
        async move {
            let n = {
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                asked.push(request.reason);
                asked.len() - 1
            };
            publish(&publisher, message("t", format!("meanwhile {n}"))).await;
            (request.topic.as_str() == "t").then(|| Event::new("state"))
        }
    });
    (publisher, asked, broker.build().expect("a broker"))
}
