//! Messages that were promised and given up: they have no place in the log, which cannot tell of
//! them to who was away.

use std::collections::HashMap;
use std::ops::RangeBounds;

use tavern_backend::Lane;

use super::Ring;

/// Lanes that are remembered one by one.
const LANES: usize = 1_024;

/// When a message was last given up, by lane.
#[derive(Debug, Default)]
pub(super) struct Discards {
    lanes: HashMap<Lane, Discard>,
    /// Of lanes that are not remembered.
    others: Option<Discard>,
}

#[derive(Debug, Clone, Copy)]
struct Discard {
    /// The watermark of that moment.
    seq: u64,
    /// The offset of the marker that says so.
    offset: u64,
}

/// What was given up of the lanes that somebody follows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Discarded {
    Lanes(Vec<Lane>),
    /// Perhaps of any.
    Unknown,
}

impl Discards {
    pub(super) fn note(&mut self, lane: &Lane, seq: u64, offset: u64) {
        let discard = Discard { seq, offset };
        if let Some(there) = self.lanes.get_mut(lane) {
            *there = discard;
        } else if self.lanes.len() < LANES {
            self.lanes.insert(lane.clone(), discard);
        } else {
            self.others = Some(discard);
        }
    }

    /// The log was cut back to `at`.
    pub(super) fn rewound(&mut self, at: u64) {
        self.lanes.values_mut().chain(&mut self.others).for_each(|d| d.seq = d.seq.min(at));
    }
}

impl Ring {
    /// What was given up of the lanes that `wants` says, at seqs from `seq` on, by markers at
    /// `offsets`. `None` if nothing was.
    pub(crate) fn discarded(
        &self,
        wants: impl Fn(&Lane) -> bool,
        seq: u64,
        offsets: impl RangeBounds<u64>,
    ) -> Option<Discarded> {
        let state = self.read_state();
        let Discards { lanes, others } = &state.discards;
        let counts = |d: &Discard| d.seq >= seq && offsets.contains(&d.offset);
        if others.as_ref().is_some_and(counts) {
            return Some(Discarded::Unknown);
        }
        let lanes = lanes.iter().filter(|(lane, d)| counts(d) && wants(lane));
        let lanes: Vec<_> = lanes.map(|(lane, _)| lane.clone()).collect();
        (!lanes.is_empty()).then_some(Discarded::Lanes(lanes))
    }
}
