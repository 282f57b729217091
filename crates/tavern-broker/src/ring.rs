//! The node's one ring: every frame once, in the order the node saw them, under one byte budget.
//!
//! ```text
//!   offset:   base                                                      end
//!   slots:   │ a1 │ b1 │ a2 │ ∎ │ c1 │ a3 │ b2 │        ∎ = marker
//!   lane a:    ^         ^              ^              offsets of its slots
//!   group **:  ^    ^    ^        ^     ^    ^         shared by equal filter sets
//! ```
//!
//! A subscriber is an offset and what it follows. Slots carry the watermark of their moment, which
//! never falls within an epoch, so that a seq is found by binary search. When the budget is
//! exceeded the oldest slot goes, and its lane and groups remember how far they have lost.

mod append;
mod discards;
mod follow;
mod index;
mod read;
mod run;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;

use slab::Slab;
use tavern_backend::{Epoch, Lane, Position};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::frame::Frame;
use crate::marker::Marker;
use crate::signal::{Signal, Signals};

pub(crate) use append::Arrival;
pub(crate) use discards::Discarded;
use discards::Discards;
pub(crate) use follow::{Follow, Following};
use index::{Group, LaneState};
pub(crate) use read::{Got, Limit, Read};
pub(crate) use run::Part;

/// The ring and those who read it.
pub(crate) struct Ring {
    /// Guards everything in it. Held for appends and reads of a bounded number of slots; no foreign
    /// code runs under it.
    state: RwLock<State>,
    /// Where the ring stands, for who waits until it is ready or has come far enough. Written
    /// under the lock, which nobody takes who holds a borrow of it.
    progress: watch::Sender<Option<Position>>,
    /// The offset that comes next: a look without the lock, for who is woken for nothing.
    end: AtomicU64,
}

struct State {
    slots: VecDeque<Slot>,
    /// The offset of the first slot.
    base: u64,
    bytes: usize,
    /// Bytes of the runs that readers share, in the same budget: up to half of it, so that who
    /// holds on to what it was given cannot push everything out.
    runs: Arc<AtomicUsize>,
    budget: usize,
    /// The epoch that seqs count in; `None` until the log was reached once.
    epoch: Option<Epoch>,
    watermark: u64,
    /// Slots below this offset are of an epoch whose tail is gone: they can be read by who was
    /// there already, but nobody can resume among them.
    region: u64,
    /// No resume from the ring below this seq.
    region_seq: u64,
    /// Below this seq history no longer has everything, and the ring, which was repaired from it,
    /// cannot tell which of it is missing: who comes from there asks history.
    trimmed_seq: u64,
    /// The highest seq that was evicted in this epoch: what is unknown of a new lane.
    evicted_seq: u64,
    /// The watermark of the last evicted marker, and the offset after it.
    evicted_marker_seq: u64,
    evicted_marker: u64,
    lane_ids: HashMap<Lane, usize>,
    lanes: Slab<LaneState>,
    groups: Slab<Group>,
    group_ids: HashMap<index::GroupKey, usize>,
    markers: VecDeque<u64>,
    discards: Discards,
    /// Everybody, for markers.
    everybody: Signals,
    /// Who waits for the watermark to reach a seq.
    awaiting: Vec<(u64, Arc<Signal>)>,
    closing: bool,
    /// Since when the backend is away, as the markers say.
    down_since: Option<Instant>,
}

struct Slot {
    /// The watermark once this slot was there: an entry's own seq.
    seq: u64,
    weight: usize,
    item: Item,
}

enum Item {
    Entry { lane: usize, frame: Arc<Frame> },
    Live { lane: usize, frame: Arc<Frame> },
    Marker(Arc<Marker>),
}

impl Item {
    fn lane(&self) -> Option<usize> {
        match self {
            Self::Entry { lane, .. } | Self::Live { lane, .. } => Some(*lane),
            Self::Marker(_) => None,
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read_state();
        f.debug_struct("Ring")
            .field("frames", &state.slots.len())
            .field("bytes", &state.bytes)
            .finish_non_exhaustive()
    }
}

impl Ring {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            state: RwLock::new(State {
                slots: VecDeque::new(),
                base: 0,
                bytes: 0,
                runs: Arc::default(),
                budget,
                epoch: None,
                watermark: 0,
                region: 0,
                region_seq: 0,
                trimmed_seq: 0,
                evicted_seq: 0,
                evicted_marker_seq: 0,
                evicted_marker: 0,
                lane_ids: HashMap::new(),
                lanes: Slab::new(),
                groups: Slab::new(),
                group_ids: HashMap::new(),
                markers: VecDeque::new(),
                discards: Discards::default(),
                everybody: Signals::default(),
                awaiting: Vec::new(),
                closing: false,
                down_since: None,
            }),
            progress: watch::Sender::new(None),
            end: AtomicU64::new(0),
        }
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the ring stands, to wait for; `None` until the log was reached once.
    pub(crate) fn progress(&self) -> watch::Receiver<Option<Position>> {
        self.progress.subscribe()
    }

    /// Whether there is a slot at `offset` or above it.
    pub(crate) fn reaches_above(&self, offset: u64) -> bool {
        self.end.load(Ordering::Acquire) > offset
    }

    /// Where the ring stands.
    pub(crate) fn position(&self) -> Option<Position> {
        *self.progress.borrow()
    }

    /// Says that the log was reached for the first time, with its head here.
    pub(crate) fn begin(&self, head: Position) {
        let mut state = self.write_state();
        state.epoch = Some(head.epoch);
        state.watermark = head.seq;
        state.region = state.end();
        state.region_seq = head.seq;
        self.progress.send_replace(Some(head));
    }

    /// Tells every subscriber that the stream ends once it has read what is there.
    pub(crate) fn close(&self) {
        let mut wakers = Vec::new();
        {
            let mut state = self.write_state();
            state.closing = true;
            state.everybody.take_into(&mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.read_state().closing
    }

    /// Frames, bytes, lanes and subscribers now.
    pub(crate) fn sizes(&self) -> Sizes {
        let state = self.read_state();
        Sizes {
            frames: state.slots.len(),
            bytes: state.weight(),
            subscribers: state.everybody.len(),
        }
    }

    /// Wakes `signal` once the watermark reaches `seq`; the caller looks again afterwards.
    pub(crate) fn await_watermark(&self, seq: u64, signal: &Arc<Signal>) {
        let mut state = self.write_state();
        if !state.awaiting.iter().any(|(s, waiting)| *s == seq && Arc::ptr_eq(waiting, signal)) {
            state.awaiting.push((seq, Arc::clone(signal)));
        }
    }
}

/// What lies in the ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
    pub(crate) subscribers: usize,
}

impl State {
    fn end(&self) -> u64 {
        self.base + index::to_u64(self.slots.len())
    }

    /// What is in it, in bytes.
    fn weight(&self) -> usize {
        self.bytes.saturating_add(self.runs.load(Ordering::Relaxed).min(self.budget / 2))
    }

    /// The slot at an offset that is in the ring.
    fn slot(&self, offset: u64) -> Option<&Slot> {
        self.slots.get(index::to_usize(offset.checked_sub(self.base)?))
    }
}

#[cfg(test)]
mod tests;
