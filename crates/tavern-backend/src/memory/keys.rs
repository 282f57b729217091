//! Which publications the log has seen lately, by their internal keys.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::{LogTime, NodeId, Origin};

/// The keys of the last while: per node, runs of counters that were given consecutive seqs. A node
/// that publishes alone is one run, however much it publishes.
#[derive(Debug)]
pub(super) struct Keys {
    window: Duration,
    swept: LogTime,
    nodes: HashMap<NodeId, BTreeMap<u64, Run>>,
}

#[derive(Debug)]
struct Run {
    len: u64,
    /// The seq of the first.
    seq: u64,
    /// When the last was appended.
    at: LogTime,
}

impl Keys {
    pub(super) fn new(window: Duration, now: LogTime) -> Self {
        Self { window, swept: now, nodes: HashMap::new() }
    }

    /// The seq that `key` was given.
    pub(super) fn find(&self, key: Origin) -> Option<u64> {
        let (first, run) = self.nodes.get(&key.node)?.range(..=key.counter).next_back()?;
        let index = key.counter - first;
        (index < run.len).then(|| run.seq + index)
    }

    /// Remembers a key that was not there.
    pub(super) fn insert(&mut self, key: Origin, seq: u64, now: LogTime) {
        let runs = self.nodes.entry(key.node).or_default();
        if let Some((first, run)) = runs.range_mut(..=key.counter).next_back()
            && key.counter - first == run.len
            && seq == run.seq + run.len
        {
            run.len += 1;
            run.at = now;
        } else {
            runs.insert(key.counter, Run { len: 1, seq, at: now });
        }
    }

    /// Forgets what is older than the window, now and then.
    pub(super) fn sweep(&mut self, now: LogTime) {
        if now < self.swept.after(self.window / 4) {
            return;
        }
        self.swept = now;
        self.nodes.retain(|_, runs| {
            runs.retain(|_, run| now < run.at.after(self.window));
            !runs.is_empty()
        });
    }

    /// Forgets what was appended above `to`.
    pub(super) fn rewind(&mut self, to: u64) {
        self.nodes.retain(|_, runs| {
            runs.retain(|_, run| run.seq <= to);
            for run in runs.values_mut() {
                run.len = run.len.min(to - run.seq + 1);
            }
            !runs.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
