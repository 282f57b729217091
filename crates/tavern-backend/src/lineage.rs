//! How the epochs of a log grew out of each other, and what that means for an old position.

use crate::{Epoch, Position};

/// The end of an epoch: the next one took over after `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The epoch that ended here.
    pub parent: Epoch,
    /// The last seq the two epochs share.
    pub at: u64,
    /// The last seq of the parent that is known to have been given out. Above `at`, entries
    /// `at + 1 ..= lost_through` were accepted once and are gone.
    pub lost_through: u64,
}

/// The current epoch of a log and its ancestors, newest fork first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The epoch that appends go to.
    pub epoch: Epoch,
    /// The ends of its ancestors, newest first.
    pub forks: Vec<Fork>,
}

/// What an old position means in the current epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The same entries lie below it: go on after `seq`. If `lost` is set, entries that were
    /// accepted above that seq of an ancestor are gone, and whoever crosses it must be told.
    At {
        /// The seq to go on after.
        seq: u64,
        /// The fork above which accepted entries were lost, if any.
        lost: Option<u64>,
    },
    /// It counts entries that are not in this log (any more): a gap, then go on after `fork`.
    Beyond {
        /// The last seq that is shared with the current epoch.
        fork: u64,
    },
    /// The epoch is not an ancestor of this log.
    Unknown,
}

impl Lineage {
    /// How many forks are remembered.
    pub const MAX_FORKS: usize = 256;

    /// A log in its first epoch.
    #[must_use]
    pub fn first(epoch: Epoch) -> Self {
        Self { epoch, forks: Vec::new() }
    }

    /// Opens `epoch` behind the current one, which ends at `at`. The oldest fork is forgotten where
    /// there are [`Lineage::MAX_FORKS`]; positions of that epoch are unknown from then on.
    pub fn fork(&mut self, epoch: Epoch, at: u64) {
        let parent = std::mem::replace(&mut self.epoch, epoch);
        self.forks.insert(0, Fork { parent, at, lost_through: at });
        self.forks.truncate(Self::MAX_FORKS);
    }

    /// Raises [`Fork::lost_through`] of the forks that cut off `known`, a position that was given
    /// out once. Returns whether that changed anything.
    pub fn learn(&mut self, known: Position) -> bool {
        let Some(oldest) = self.forks.iter().position(|fork| fork.parent == known.epoch) else {
            return false;
        };
        let (mut seq, mut changed) = (known.seq, false);
        for fork in self.forks[..=oldest].iter_mut().rev() {
            if seq > fork.lost_through {
                fork.lost_through = seq;
                changed = true;
            }
            // What lies above the fork is not in the epochs that came after it.
            seq = seq.min(fork.at);
        }
        changed
    }

    /// Finds `position` in the current epoch, whose head is `head`.
    #[must_use]
    pub fn locate(&self, position: Position, head: u64) -> Place {
        if position.epoch == self.epoch {
            return match position.seq {
                seq if seq <= head => Place::At { seq, lost: None },
                _ => Place::Beyond { fork: head },
            };
        }
        // A later fork may lie below an earlier one if the log was cut twice: the lowest end counts.
        let (mut end, mut lost) = (u64::MAX, None);
        for fork in &self.forks {
            if fork.at < end {
                end = fork.at;
            }
            if fork.lost_through > fork.at {
                lost = Some(lost.map_or(fork.at, |at: u64| at.min(fork.at)));
            }
            if fork.parent == position.epoch {
                return if position.seq <= end {
                    Place::At { seq: position.seq, lost }
                } else {
                    Place::Beyond { fork: end }
                };
            }
        }
        Place::Unknown
    }
}

#[cfg(test)]
mod tests;
