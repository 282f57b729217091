//! Following the log into another epoch.

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Append, Bus, Head, Place, Position};

use super::Reader;
use crate::backoff::Backoff;
use crate::marker::Marker;
use crate::ring::Arrival;
use crate::sequencer::Sequencer;
use crate::shared::Node;

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
        // In this order: what the publisher hears of the old epoch is found either here, or by
        // the publisher to lie beyond the fork.
        self.node.learn(Arc::clone(head));
        let known = self.node.extent.of(old.epoch).filter(|known| known.seq > old.seq);
        let known = known.unwrap_or(old);
        // Where the two epochs part, whether or not this node has come that far.
        let end = match head.lineage.locate(Position::new(old.epoch, u64::MAX), u64::MAX) {
            Place::Beyond { fork } => Some(fork),
            Place::At { .. } | Place::Unknown => None,
        };
        let related = end.is_some();
        let at = end.unwrap_or_else(|| {
            let first = seen.filter(|seen| seen.epoch == epoch).map(|seen| seen.seq - 1);
            first.unwrap_or(head.position.seq)
        });
        let rewound = !related || at < old.seq;
        let below = Position::new(old.epoch, old.seq.min(at));
        let lost = rewound
            || at < known.seq
            || matches!(head.lineage.locate(below, u64::MAX), Place::At { lost: Some(_), .. });
        let to = Position::new(epoch, at);
        tracing::warn!(from = %old, %known, %to, lost, related, "the log forked");
        self.epoch = epoch;
        self.node.pages.clear();
        if rewound {
            self.sequencer = Sequencer::new(at, self.node.config.pending_entries);
        } else {
            self.sequencer.cut(at);
        }
        self.node.interest.followed(&head.lineage);
        // What was asked before is answered of a log that is no more.
        self.probing = None;
        self.repair.stop();
        self.sequencer.reach(head.position.seq);
        self.probed = head.position.seq;
        // What was pushed of it before this node knew it may have been lost on it.
        self.pulse.begin(head.position.seq);
        let marker = Marker::Fork { epoch, at, lost, known: related };
        self.node.ring.append([Arrival::Marker(marker)]);
        if related && at < known.seq {
            self.node.tell_loss(known);
        }
    }
}

impl Node {
    /// Tells the log which seqs of an old epoch were given out beyond a fork, so that clients of
    /// nodes that never saw them are told too. It is tried until the log takes it: who fails over
    /// refuses at first.
    pub(crate) fn tell_loss(self: &Arc<Self>, known: Position) {
        let (bus, token) = (self.bus.clone(), self.tasks.token().clone());
        let patience = self.config.repair_patience;
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {
                    tracing::warn!(%known, "the node ends before the extent of a loss was recorded");
                }
                () = tell_until_taken(&bus, known, patience) => {}
            }
        });
    }
}

async fn tell_until_taken(bus: &Bus, known: Position, patience: Duration) {
    let mut backoff = Backoff::default();
    loop {
        let append = Append { known: Some(known), publications: Vec::new() };
        match tokio::time::timeout(patience, bus.append(append)).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) if !error.is_transient() => {
                tracing::error!(%error, %known, "the extent of a loss cannot be recorded");
                return;
            }
            Ok(Err(error)) => tracing::warn!(%error, %known, "a loss could not be recorded yet"),
            Err(_) => tracing::warn!(%known, "a loss could not be recorded yet: no answer"),
        }
        tokio::time::sleep(backoff.next()).await;
    }
}
