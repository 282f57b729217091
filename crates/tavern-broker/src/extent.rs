//! How far the log is known to have come, by all that told this node of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tavern_backend::{Epoch, Lineage, Place, Position};

/// Epochs that are remembered: the one the node is in, and what it heard of others.
const EPOCHS: usize = 16;

/// The highest position of each epoch that was given out to this node: pushed, answered to a
/// publication, or told as the head. It may lie above what the node has in order, and above what
/// the log has left.
#[derive(Debug, Default)]
pub(crate) struct Extent {
    /// Guards the list, oldest epoch first.
    highest: Mutex<Vec<Position>>,
}

impl Extent {
    fn highest(&self) -> MutexGuard<'_, Vec<Position>> {
        self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log told of `position`.
    pub(crate) fn heard(&self, position: Position) {
        let mut highest = self.highest();
        if let Some(there) = highest.iter_mut().find(|there| there.epoch == position.epoch) {
            there.seq = there.seq.max(position.seq);
            return;
        }
        if highest.len() >= EPOCHS {
            highest.remove(0);
        }
        highest.push(position);
    }

    /// The highest position of `epoch` that was heard of.
    pub(crate) fn of(&self, epoch: Epoch) -> Option<Position> {
        self.highest().iter().find(|there| there.epoch == epoch).copied()
    }

    /// Whether entries were heard of, of `epoch` or of one that came between it and the current one,
    /// that are not in the log of `lineage` any more.
    pub(crate) fn lost_since(&self, epoch: Epoch, lineage: &Lineage) -> bool {
        let Some(n) = lineage.forks.iter().position(|fork| fork.parent == epoch) else {
            return false;
        };
        lineage.forks[..=n]
            .iter()
            .filter_map(|fork| self.of(fork.parent))
            .any(|heard| matches!(lineage.locate(heard, u64::MAX), Place::Beyond { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the simulation: a client of the first epoch came back, when the second had ended with
    /// entries lost that only this node knew of.
    #[test]
    fn a_loss_in_an_epoch_that_a_client_never_saw_counts_too() {
        let [first, second, third] = [1, 2, 3].map(Epoch::from_u64);
        let extent = Extent::default();
        let mut lineage = Lineage::first(first);
        lineage.fork(second, 10);
        extent.heard(Position::new(second, 14));
        assert!(!extent.lost_since(first, &lineage));
        lineage.fork(third, 12);
        assert!(extent.lost_since(first, &lineage));
        assert!(extent.lost_since(second, &lineage));
        assert!(!extent.lost_since(third, &lineage));
    }
}
