//! Logs that lost their tail: epochs and their forks.

use tavern_backend::{Append, Fork, Place, Position};

use crate::Stage;
use crate::say::message;
use crate::stage::Node;
use crate::wait::within;

/// What is appended after a rewind lies in a new epoch, forked where the old one was cut.
pub async fn hard_case_06_a_rewound_log_opens_a_new_epoch(stage: Stage) {
    let (node, lost) = rewound_at_five_of_ten(&stage).await;
    let first = node.store(message("t", "new")).await;
    assert_ne!(first.epoch, lost.epoch, "a new epoch");
    assert_eq!(first.seq, 6, "forked at the current seq");
    let lineage = node.head().await.lineage;
    assert_eq!(lineage.epoch, first.epoch);
    assert!(
        matches!(lineage.forks.as_slice(), [Fork { parent, at: 5, .. }] if *parent == lost.epoch),
        "{lineage:?}"
    );
    let old = |seq| lineage.locate(Position::new(lost.epoch, seq), 6);
    assert!(matches!(old(5), Place::At { seq: 5, .. }));
    assert_eq!(old(6), Place::Beyond { fork: 5 });
    let other = stage.node().await;
    assert_eq!(*other.head().await.lineage, *lineage, "every node says the same");
}

/// A node that knows of the lost tail tells the log, in the append that opens the epoch.
pub async fn hard_case_06_what_a_node_knows_is_recorded(stage: Stage) {
    let (node, lost) = rewound_at_five_of_ten(&stage).await;
    let publications = vec![node.publication(message("t", "new"))];
    let append = Append { known: Some(lost), publications };
    within("an append", node.bus().append(append)).await.expect("appended");
    let lineage = node.head().await.lineage;
    let fork = Fork { parent: lost.epoch, at: 5, lost_through: lost.seq };
    assert_eq!(lineage.forks, [fork]);
    let old = |seq| lineage.locate(Position::new(lost.epoch, seq), 6);
    assert_eq!(old(4), Place::At { seq: 4, lost: Some(5) }, "told to who crosses it");
}

/// The node that knows may come later; its append of nothing takes no seq and opens no epoch.
pub async fn hard_case_06_what_a_node_knows_may_come_late(stage: Stage) {
    let (node, lost) = rewound_at_five_of_ten(&stage).await;
    let empty = || Append { known: Some(lost), publications: Vec::new() };
    within("an append of nothing", node.bus().append(empty())).await.expect("appended");
    let first = node.store(message("t", "new")).await;
    assert_eq!(first.seq, 6, "nothing took no seq");
    let other = stage.node().await;
    within("an append of nothing", other.bus().append(empty())).await.expect("appended");
    let head = node.head().await;
    assert_eq!(head.position, first, "nothing took no seq and opened no epoch");
    assert!(
        matches!(head.lineage.forks.as_slice(), [Fork { at: 5, lost_through: 10, .. }]),
        "{head:?}"
    );
}

/// Two tails lost one after the other: the positions of both old epochs are still told apart.
pub async fn hard_case_06_two_tails_lost(stage: Stage) {
    let (node, first) = rewound_at_five_of_ten(&stage).await;
    // Rewound to 5 again after three more.
    let mut second = first;
    for n in 0..3 {
        second = node.store(message("t", n.to_string())).await;
    }
    stage.rewind().await;
    let node = stage.node().await;
    let third = node.store(message("t", "third")).await;
    assert_eq!(third.seq, 6);
    assert_ne!(third.epoch, first.epoch);
    assert_ne!(third.epoch, second.epoch);
    let lineage = node.head().await.lineage;
    assert!(matches!(lineage.locate(Position::new(first.epoch, 5), 6), Place::At { seq: 5, .. }));
    assert_eq!(lineage.locate(first, 6), Place::Beyond { fork: 5 });
    // The second epoch went with the tail: unknown, or an ancestor that ended at 5.
    let of_second = lineage.locate(second, 6);
    assert!(matches!(of_second, Place::Unknown | Place::Beyond { .. }), "{of_second:?}");
}

/// An engine that restarts loses nothing it acknowledged, and old positions stay what they were.
pub async fn a_restart_keeps_the_log(stage: Stage) {
    let node = stage.node().await;
    let mut positions = Vec::new();
    for n in 1..=10 {
        positions.push(node.store(message("t", n.to_string())).await);
    }
    stage.restart().await;
    let node = stage.node().await;
    let eleventh = node.store(message("t", "11")).await;
    assert_eq!(eleventh.seq, 11, "it goes on where it was");
    let lineage = node.head().await.lineage;
    for position in positions {
        let place = lineage.locate(position, 11);
        assert_eq!(place, Place::At { seq: position.seq, lost: None });
    }
    let entries = node.read_all().await.into_iter().flat_map(|page| page.entries);
    let texts = entries.map(|e| e.envelope().data.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(texts, (1..=11).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Five entries, a checkpoint, five more, which are lost. Returns a node of afterwards and the last
/// position that was given out.
async fn rewound_at_five_of_ten(stage: &Stage) -> (Node, Position) {
    let before = stage.node().await;
    for n in 1..=5 {
        before.store(message("t", n.to_string())).await;
    }
    stage.checkpoint().await;
    let mut last = before.head().await.position;
    for n in 6..=10 {
        last = before.store(message("t", n.to_string())).await;
    }
    assert_eq!(last.seq, 10);
    stage.close().await;
    stage.rewind().await;
    (stage.node().await, last)
}
