//! A log that lost its tail, before anything was appended to it again.
//!
//! Only an append begins another epoch. Until then the seqs of the tail are still in the ring and
//! in the page cache, and count as the log's; whoever comes meanwhile is not to get them (again).

use std::sync::{Arc, Mutex, PoisonError};

use tavern_backend::{Epoch, Head, LastEventId, Position};

use super::catch_up::Trip;
use super::gaps::Replay;
use crate::backoff::Backoff;

/// Where the log ended when it was asked last, if this node knows of more in that epoch.
#[derive(Debug, Default)]
pub(super) struct Cut(Mutex<Option<Position>>);

impl Cut {
    pub(super) fn set(&self, cut: Option<Position>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cut;
    }

    /// The last seq of `epoch` that the log has, if it has lost what came behind it.
    pub(super) fn of(&self, epoch: Epoch) -> Option<u64> {
        let cut = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cut.filter(|cut| cut.epoch == epoch).map(|cut| cut.seq)
    }
}

impl Trip {
    /// The log's head as asked now, however long that takes.
    pub(super) async fn head(&self) -> Arc<Head> {
        let mut backoff = Backoff::default();
        loop {
            let node = &self.wish.node;
            // What it heard of before it asks, the log must have.
            let heard = node.ring.position().and_then(|ring| node.extent.of(ring.epoch));
            match node.heads.now().await {
                Ok(head) => {
                    let now = head.position;
                    let cut = heard.is_some_and(|h| h.epoch == now.epoch && h.seq > now.seq);
                    self.cut.set(cut.then_some(now));
                    return head;
                }
                Err(error) => tracing::debug!(%error, "a stream waits for the log"),
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Whether this node heard of entries of `epoch`, or of an epoch since, that are not in the log any
    /// more. The log says so, too, but only once it has been told.
    pub(super) fn lost_untold(&self, epoch: Epoch, head: &Head) -> bool {
        self.wish.node.extent.lost_since(epoch, &head.lineage)
    }

    /// If a client that goes on at `here` has seen more of that very epoch: how much of it was given
    /// out, as far as is known. With snapshots nothing is noted, as they are of their moment.
    pub(super) fn cut_behind(&self, last: &LastEventId, here: Position) -> Option<(Position, u64)> {
        let LastEventId::Cursor(seen) = last else { return None };
        let cut = seen.0.epoch == here.epoch && seen.0.seq > here.seq;
        let heard = self.wish.node.extent.of(here.epoch).map_or(0, |heard| heard.seq);
        (cut && self.wish.node.snapshot.is_none()).then(|| (here, heard.max(seen.0.seq)))
    }

    /// Whether all that is lost at the fork behind `here` was told to the client, which has got
    /// nothing since.
    pub(super) fn told_of_fork(&self, here: Position, head: &Head, replay: &Replay) -> bool {
        let Some((at, through)) = replay.told_cut.filter(|(at, _)| *at == here) else {
            return false;
        };
        let heard = self.wish.node.extent.of(at.epoch);
        heard.is_none_or(|heard| heard.seq <= through)
            && head.lineage.forks.first().is_some_and(|fork| {
                fork.parent == at.epoch && fork.at == at.seq && fork.lost_through <= through
            })
    }

    /// At the end of a log that lost its tail: there is nothing to deliver until it is appended to.
    /// Ends the replay, and waits a while for the next epoch. Returns where the log goes on then.
    pub(super) async fn wait_for_append(&self, here: Position, replay: &mut Replay) -> Position {
        if here.seq >= replay.until {
            let end = self.wish.end(replay, here);
            self.send(end.into_iter().collect()).await;
        }
        let mut progress = self.wish.node.ring.progress();
        let patience = self.wish.node.config.probe_interval;
        drop(tokio::time::timeout(patience, progress.changed()).await);
        if self.head().await.position.epoch == here.epoch {
            return here;
        }
        self.cross(here, replay).await
    }
}
