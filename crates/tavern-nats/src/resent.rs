//! What the log has of a lane, for publications that are sent again: the server forgets over a
//! restart what it has trimmed.

use std::collections::{HashMap, VecDeque};

use tavern_backend::{NodeId, Origin, Published};

use crate::stream::Limits;

/// Publications that are remembered at most.
const MOST: usize = 16_384;

/// What is known of a publication that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// Where the log had got to when it left for the first time: if it was stored, it lies above.
    pub(crate) left_at: u64,
    pub(crate) published: Option<Published>,
}

/// Publications that were sent and whose callers were told of a failure: what became of each, as far
/// as that is known. So a batch that is sent again goes on where it was, however often the link
/// breaks meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    known: HashMap<Origin, Known>,
    /// The same keys, oldest first.
    order: VecDeque<Origin>,
}

impl Unsettled {
    pub(crate) fn note(&mut self, key: Origin, left_at: u64, published: Option<Published>) {
        match self.known.get_mut(&key) {
            // What was known once is not forgotten.
            Some(known) => {
                known.left_at = known.left_at.min(left_at);
                known.published = published.or(known.published.take());
            }
            None => {
                self.known.insert(key, Known { left_at, published });
                self.order.push_back(key);
                if self.order.len() > MOST
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.known.remove(&oldest);
                }
            }
        }
    }

    /// What is known of a publication; `None` if it was not sent, or its caller was answered.
    pub(crate) fn get(&self, key: Origin) -> Option<Known> {
        self.known.get(&key).cloned()
    }
}

/// One lane, as it was when its first publication was sent again over a link. Whoever publishes
/// here has sent nothing into it since but what is sent again, too.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The entries of the nodes that publish here.
    ours: HashMap<Origin, u64>,
    /// The lowest counter of each of them.
    lowest: HashMap<NodeId, u64>,
    /// The first seq that is left.
    first: u64,
    count: u64,
}

impl Kept {
    /// Takes the lane's entries, by seq. Of one that cannot be read nothing but its seq is known.
    pub(crate) fn push(&mut self, seq: u64, key: Option<Origin>) {
        if self.count == 0 {
            self.first = seq;
        }
        self.count += 1;
        if let Some(key) = key {
            self.ours.insert(key, seq);
            let lowest = self.lowest.entry(key.node).or_insert(key.counter);
            *lowest = key.counter.min(*lowest);
        }
    }

    /// Where a publication that is sent again was stored, if it was: it is there, or it was trimmed.
    /// The log had got to `left_at` when it left for the first time.
    ///
    /// It was trimmed only if the lane is full, a later one of its node is left and no earlier one.
    /// That a later one is there says little otherwise: callers that publish at once take their
    /// places in another order than their keys, and one may have been refused. Nor was it
    /// trimmed if everything is left that came after it.
    pub(crate) fn stored(&self, key: Origin, left_at: u64, limits: &Limits) -> Option<u64> {
        if let Some(seq) = self.ours.get(&key) {
            return Some(*seq);
        }
        let full = limits.per_subject.is_some_and(|limit| self.count >= limit);
        let trims = (full || !limits.closed) && self.first > left_at.saturating_add(1);
        let later_only = self.lowest.get(&key.node).is_some_and(|lowest| *lowest > key.counter);
        (trims && later_only).then(|| self.first - 1)
    }
}

#[cfg(test)]
mod tests;
