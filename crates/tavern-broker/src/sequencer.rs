//! Makes a contiguous feed out of pushes that may be lost, repeated or out of order.
//!
//! It counts: the log's seqs are dense, so whatever is missing below something seen, or below a
//! head that was asked for, is a *hole*, which is read from history and put in its place. Pure: no
//! I/O, no clock.
//!
//! ```text
//!   emitted, in order          hole         pending            hole up to the target
//!  ───────────────────────┤............├──────────────────┤............................┤
//!                     watermark      first pending                                 target
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use tavern_backend::{Entry, Lane};

/// Something in its place in the log.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// An entry.
    Entry(Arc<Entry>),
    /// An entry that cannot be read.
    Undecodable { seq: u64, lane: Option<Lane> },
    /// Nothing here for this node.
    Skip { to: u64 },
    /// A hole that was given up.
    Lost { to: u64 },
}

impl Step {
    /// The last seq it speaks of.
    pub(crate) fn last(&self) -> u64 {
        match self {
            Self::Entry(entry) => entry.position.seq,
            Self::Undecodable { seq, .. } => *seq,
            Self::Skip { to } | Self::Lost { to } => *to,
        }
    }
}

/// The counter of one node's feed within one epoch.
#[derive(Debug)]
pub(crate) struct Sequencer {
    /// The next seq to emit; the watermark is one below.
    next: u64,
    /// The log is known to reach this seq.
    target: u64,
    /// What came above a hole, by first seq. Bounded by `limit`: what does not fit becomes part of
    /// a hole and is read from history later.
    pending: BTreeMap<u64, Step>,
    limit: usize,
    pub(crate) duplicates: u64,
    pub(crate) overflow: u64,
}

impl Sequencer {
    pub(crate) fn new(watermark: u64, limit: usize) -> Self {
        Self {
            next: watermark.saturating_add(1),
            target: watermark,
            pending: BTreeMap::new(),
            limit: limit.max(1),
            duplicates: 0,
            overflow: 0,
        }
    }

    /// The seq up to which everything has been emitted.
    pub(crate) fn watermark(&self) -> u64 {
        self.next - 1
    }

    /// Takes a push of the seqs `from ..= step.last()` and emits what has become contiguous.
    pub(crate) fn push(&mut self, from: u64, step: Step, out: &mut Vec<Step>) {
        let last = step.last();
        if last < self.next || from > last {
            self.duplicates += 1;
            return;
        }
        self.target = self.target.max(last);
        if from <= self.next {
            self.emit(step, out);
            self.drain(out);
        } else {
            self.keep(from, step);
        }
    }

    /// Says that the log reaches `seq`, whether or not a push told.
    pub(crate) fn reach(&mut self, seq: u64) {
        self.target = self.target.max(seq);
    }

    /// Says that the log does not reach above `seq` (any more) but for what was pushed.
    pub(crate) fn retract(&mut self, seq: u64) {
        let pushed = self.pending.values().map(Step::last).max().unwrap_or(0);
        self.target = seq.max(pushed).max(self.watermark());
    }

    /// The log was cut back to `seq`, at the watermark or above it: what was pushed beyond is not
    /// in it any more, and other things will take its seqs.
    pub(crate) fn cut(&mut self, seq: u64) {
        self.pending.retain(|_, step| step.last() <= seq);
        self.target = self.target.min(seq).max(self.watermark());
    }

    /// How far the log is known to reach.
    pub(crate) fn target(&self) -> u64 {
        self.target
    }

    /// The first range that is missing, both ends included.
    pub(crate) fn hole(&self) -> Option<(u64, u64)> {
        match self.pending.first_key_value() {
            Some((first, _)) => Some((self.next, first - 1)),
            None if self.target >= self.next => Some((self.next, self.target)),
            None => None,
        }
    }

    /// Fills `..= to` from history: `steps` by seq, and nothing for this node in between.
    pub(crate) fn fill(
        &mut self,
        steps: impl IntoIterator<Item = Step>,
        to: u64,
        out: &mut Vec<Step>,
    ) {
        for step in steps {
            let seq = step.last();
            if seq < self.next || seq > to {
                continue;
            }
            // A pushed entry in the range is the same entry; one is enough.
            if seq > self.next {
                self.emit(Step::Skip { to: seq - 1 }, out);
            }
            self.emit(step, out);
        }
        if to >= self.next {
            self.emit(Step::Skip { to }, out);
        }
        self.drain(out);
    }

    /// Gives up the hole up to `to`.
    pub(crate) fn give_up(&mut self, to: u64, out: &mut Vec<Step>) {
        if to >= self.next {
            self.emit(Step::Lost { to }, out);
            self.drain(out);
        }
    }

    fn emit(&mut self, step: Step, out: &mut Vec<Step>) {
        self.next = step.last().saturating_add(1);
        out.push(step);
    }

    fn drain(&mut self, out: &mut Vec<Step>) {
        while let Some(first) = self.pending.first_entry() {
            if *first.key() > self.next {
                break;
            }
            let step = first.remove();
            if step.last() >= self.next {
                self.emit(step, out);
            } else {
                self.duplicates += 1;
            }
        }
    }

    fn keep(&mut self, from: u64, step: Step) {
        if let Some(there) = self.pending.get(&from) {
            self.duplicates += 1;
            // Of two that begin together the longer one says more; only skips have a length.
            if there.last() < step.last() {
                self.pending.insert(from, step);
            }
            return;
        }
        if self.pending.len() >= self.limit {
            self.overflow += 1;
            match self.pending.last_entry() {
                // The lowest are emitted first: they are the ones to keep.
                Some(highest) if *highest.key() > from => {
                    highest.remove();
                }
                _ => return,
            }
        }
        self.pending.insert(from, step);
    }
}

#[cfg(test)]
mod tests;
