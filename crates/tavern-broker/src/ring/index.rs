//! The indexes over the ring: one per lane, and one per set of wildcards that somebody follows.

use std::collections::VecDeque;
use std::sync::OnceLock;

use tavern_backend::{FilterSet, Lane, Scope, TopicFilter};

use super::run::Run;
use crate::signal::Signals;

/// What a lane's own bookkeeping costs, charged to the ring's budget while it is there.
pub(super) const LANE_WEIGHT: usize = 448;
/// What one offset in an index costs.
pub(super) const OFFSET_WEIGHT: usize = 8;

/// Where the slots of one lane, or of one group, lie.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) offsets: VecDeque<u64>,
    /// All its evicted slots lie below this offset.
    pub(super) evicted: u64,
    /// All its evicted entries lie at or below this seq.
    pub(super) evicted_seq: u64,
    /// All its evicted live messages lie below this offset.
    pub(super) evicted_live: u64,
    pub(super) signals: Signals,
    /// The newest of it, for all who keep up; empty since the last append, `None` if it cannot be
    /// shared.
    pub(super) run: OnceLock<Option<Run>>,
}

impl Index {
    /// An index made when the ring began at `base` and had lost everything up to `evicted_seq`:
    /// what was there before is not known to have been elsewhere.
    pub(super) fn new(base: u64, evicted_seq: u64) -> Self {
        Self { evicted: base, evicted_seq, ..Self::default() }
    }

    /// Adds the slot at `offset`, which is the ring's newest.
    pub(super) fn push(&mut self, offset: u64) {
        self.offsets.push_back(offset);
        self.run.take();
    }

    /// Forgets the slot at `offset`, which is the ring's oldest.
    pub(super) fn evict(&mut self, offset: u64, entry: Option<u64>) {
        if self.offsets.front() == Some(&offset) {
            self.offsets.pop_front();
        }
        if self.run.get().is_some_and(|run| run.as_ref().is_some_and(|run| run.first <= offset)) {
            self.run.take();
        }
        self.evicted = offset + 1;
        match entry {
            Some(seq) => self.evicted_seq = self.evicted_seq.max(seq),
            None => self.evicted_live = offset + 1,
        }
    }

    /// The place in `offsets` of the first that is not below `offset`.
    pub(super) fn seek(&self, offset: u64) -> usize {
        self.offsets.partition_point(|o| *o < offset)
    }
}

/// A topic and scope that has slots in the ring or followers.
#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) lane: Lane,
    pub(super) index: Index,
    /// The groups whose filters match it.
    pub(super) groups: Vec<usize>,
}

/// A set of filters with its scope, as the key of a shared index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    /// Sorted, each once.
    pub(super) filters: Vec<TopicFilter>,
    pub(super) scope: Option<Scope>,
}

/// An index shared by all who follow the same set of filters.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: GroupKey,
    pub(super) matching: FilterSet,
    pub(super) index: Index,
    /// Slots below this offset are not in the index: it was made when the ring ended here.
    pub(super) since: u64,
}

impl Group {
    pub(super) fn wants(&self, lane: &Lane) -> bool {
        self.key.scope == lane.scope && self.matching.matches(&lane.topic)
    }
}

pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(super) fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
