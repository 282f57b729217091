//! How far the log is known to have come, by all that told this node of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tavern_backend::{Epoch, Position};

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
}
