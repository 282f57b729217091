//! Following the log into another epoch.

use std::sync::Arc;

use tavern_backend::{Append, Head, Place, Position};

use super::Reader;
use crate::marker::Marker;
use crate::ring::Arrival;
use crate::sequencer::Sequencer;

impl Reader {
    /// Something of another epoch arrived: finds out how that epoch relates to this one. Returns
    /// whether the event counts in the epoch that the node is in afterwards.
    pub(super) async fn follow_to(&mut self, position: Position) -> bool {
        let Some(head) = self.ask_head().await else {
            // It is lost for now: the probe finds it by counting.
            return false;
        };
        if head.position.epoch != self.epoch {
            self.follow(&head, Some(position));
        }
        self.node.learn(head);
        position.epoch == self.epoch
    }

    /// Goes over to the epoch of `head`. `seen` is what was pushed of it first.
    pub(super) fn follow(&mut self, head: &Arc<Head>, seen: Option<Position>) {
        let old = self.watermark();
        let epoch = head.position.epoch;
        // Where the two epochs part, whether or not this node has come that far.
        let end = match head.lineage.locate(Position::new(old.epoch, u64::MAX), u64::MAX) {
            Place::Beyond { fork } => Some(fork),
            Place::At { .. } | Place::Unknown => None,
        };
        let known = end.is_some();
        let at = end.unwrap_or_else(|| {
            let first = seen.filter(|seen| seen.epoch == epoch).map(|seen| seen.seq - 1);
            first.unwrap_or(head.position.seq)
        });
        let rewound = !known || at < old.seq;
        let below = Position::new(old.epoch, old.seq.min(at));
        let lost = rewound
            || matches!(head.lineage.locate(below, u64::MAX), Place::At { lost: Some(_), .. });
        tracing::warn!(from = %old, to = %Position::new(epoch, at), lost, known, "the log forked");
        self.epoch = epoch;
        self.node.pages.clear();
        if rewound {
            self.sequencer = Sequencer::new(at, self.node.config.pending_entries);
            self.node.interest.rewound(at);
        }
        self.repair.stop();
        self.sequencer.reach(head.position.seq);
        self.probed = head.position.seq;
        let marker = Marker::Fork { epoch, at, lost, known };
        self.node.ring.append([Arrival::Marker(marker)]);
        if known && at < old.seq {
            self.tell_loss(old);
        }
    }

    /// Tells the log which seqs of the old epoch were given out beyond the fork, so that clients of
    /// nodes that never saw them are told too.
    fn tell_loss(&self, known: Position) {
        let node = Arc::clone(&self.node);
        self.node.tasks.spawn(async move {
            let append = Append { known: Some(known), publications: Vec::new() };
            let token = node.tasks.token().clone();
            let told = tokio::select! {
                () = token.cancelled() => return,
                told = node.bus.append(append) => told,
            };
            if let Err(error) = told {
                tracing::warn!(%error, %known, "the extent of a loss could not be recorded");
            }
        });
    }
}
