//! Putting things into the ring, and taking the oldest out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use tavern_backend::{Lane, Position};

use super::index::{Index, LANE_WEIGHT, LaneState, OFFSET_WEIGHT};
use super::{Item, Ring, Slot, State};
use crate::frame::Frame;
use crate::marker::Marker;

/// Something that arrives in node order.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// An entry, in its place.
    Entry(Arc<Frame>),
    /// Everything up to this seq has been seen; nothing of it concerns this node.
    Advance(u64),
    /// A message of a live topic.
    Live(Arc<Frame>),
    /// Something to be told.
    Marker(Marker),
}

impl Ring {
    /// Appends a batch and wakes, once each, those whom it concerns.
    pub(crate) fn append(&self, batch: impl IntoIterator<Item = Arrival>) {
        let mut wakers = Vec::new();
        {
            let mut state = self.write_state();
            let mut touched = Touched::default();
            for arrival in batch {
                state.take_in(arrival, &mut touched);
            }
            state.evict();
            self.end.store(state.end(), Ordering::Release);
            state.collect(touched, &mut wakers);
            let position = state.epoch.map(|epoch| Position::new(epoch, state.watermark));
            // Still under the lock: what one append tells must not overtake another's.
            self.progress.send_if_modified(|there| {
                let moved = *there != position;
                *there = position;
                moved
            });
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Whom a batch concerns.
#[derive(Default)]
struct Touched {
    lanes: Vec<usize>,
    groups: Vec<usize>,
    everybody: bool,
}

impl State {
    fn take_in(&mut self, arrival: Arrival, touched: &mut Touched) {
        match arrival {
            Arrival::Entry(frame) => {
                if let Some(position) = frame.position {
                    self.watermark = position.seq;
                }
                let lane = self.touch(&frame, touched);
                self.push(frame.weight(), Item::Entry { lane, frame });
            }
            Arrival::Live(frame) => {
                let lane = self.touch(&frame, touched);
                self.push(frame.weight(), Item::Live { lane, frame });
            }
            Arrival::Advance(seq) => self.watermark = self.watermark.max(seq),
            Arrival::Marker(marker) => {
                self.mark(&marker);
                self.markers.push_back(self.end());
                touched.everybody = true;
                self.push(marker.weight(), Item::Marker(Arc::new(marker)));
            }
        }
    }

    /// What a marker does to the ring itself.
    fn mark(&mut self, marker: &Marker) {
        let (epoch, at, known) = match marker {
            Marker::Fork { epoch, at, known, .. } => (epoch, at, known),
            Marker::Degraded { since } => return self.down_since = Some(*since),
            Marker::Recovered { .. } => return self.down_since = None,
            Marker::Trimmed { through, .. } => {
                return self.trimmed_seq = self.trimmed_seq.max(*through);
            }
            Marker::Discarded { lane } => {
                let (seq, offset) = (self.watermark, self.end());
                return self.discards.note(lane, seq, offset);
            }
            Marker::Gap { .. } => return,
        };
        let rewound = !known || *at < self.watermark;
        self.epoch = Some(*epoch);
        if rewound {
            // Seqs above `at` will be given out again: nobody resumes among the old ones, and what
            // was evicted of them says nothing about the new ones. Up to `at` both are the same.
            self.watermark = *at;
            self.region = self.end();
            self.region_seq = *at;
            let at = *at;
            let shared = |seq: &mut u64| *seq = (*seq).min(at);
            self.discards.rewound(at);
            shared(&mut self.trimmed_seq);
            shared(&mut self.evicted_seq);
            shared(&mut self.evicted_marker_seq);
            self.lanes.iter_mut().for_each(|(_, lane)| shared(&mut lane.index.evicted_seq));
            self.groups.iter_mut().for_each(|(_, group)| shared(&mut group.index.evicted_seq));
        }
    }

    /// The frame's lane, indexed at the offset that comes next, and whom it concerns.
    fn touch(&mut self, frame: &Frame, touched: &mut Touched) -> usize {
        let lane = self.lane(&frame.envelope.lane());
        let offset = self.end();
        let Self { lanes, groups, .. } = self;
        let state = &mut lanes[lane];
        state.index.push(offset);
        if touched.lanes.last() != Some(&lane) {
            touched.lanes.push(lane);
        }
        for group in &state.groups {
            groups[*group].index.push(offset);
            if touched.groups.last() != Some(group) {
                touched.groups.push(*group);
            }
        }
        self.bytes += OFFSET_WEIGHT * (1 + self.lanes[lane].groups.len());
        lane
    }

    fn push(&mut self, weight: usize, item: Item) {
        self.bytes += weight;
        self.slots.push_back(Slot { seq: self.watermark, weight, item });
    }

    /// The id of a lane, made if it is new.
    pub(super) fn lane(&mut self, lane: &Lane) -> usize {
        if let Some(id) = self.lane_ids.get(lane) {
            return *id;
        }
        let groups = self.groups.iter().filter(|(_, g)| g.wants(lane)).map(|(id, _)| id).collect();
        let index = Index::new(self.base, self.evicted_seq);
        let id = self.lanes.insert(LaneState { lane: lane.clone(), index, groups });
        self.lane_ids.insert(lane.clone(), id);
        self.bytes += LANE_WEIGHT;
        id
    }

    /// Drops a lane that has neither slots nor followers.
    pub(super) fn forget_lane_if_unused(&mut self, id: usize) {
        let unused = self
            .lanes
            .get(id)
            .is_some_and(|lane| lane.index.offsets.is_empty() && lane.index.signals.len() == 0);
        if unused {
            let lane = self.lanes.remove(id);
            self.lane_ids.remove(&lane.lane);
            self.bytes = self.bytes.saturating_sub(LANE_WEIGHT);
        }
    }

    /// Takes out the oldest until the budget is kept.
    pub(super) fn evict(&mut self) {
        while self.weight() > self.budget {
            let Some(slot) = self.slots.pop_front() else { break };
            let offset = self.base;
            self.base += 1;
            self.bytes = self.bytes.saturating_sub(slot.weight);
            let Some(lane) = slot.item.lane() else {
                self.markers.pop_front();
                self.evicted_marker = offset + 1;
                if offset >= self.region {
                    self.evicted_marker_seq = slot.seq;
                }
                continue;
            };
            // What an older epoch does not share with this one says nothing about seqs of this one.
            let entry = match slot.item {
                Item::Entry { .. } if offset >= self.region => Some(slot.seq),
                Item::Entry { .. } => Some(slot.seq.min(self.region_seq)),
                Item::Live { .. } | Item::Marker(_) => None,
            };
            if let Some(seq) = entry {
                self.evicted_seq = self.evicted_seq.max(seq);
            }
            let Self { lanes, groups, .. } = self;
            lanes[lane].index.evict(offset, entry);
            for group in &lanes[lane].groups {
                groups[*group].index.evict(offset, entry);
            }
            let indexes = 1 + lanes[lane].groups.len();
            self.bytes = self.bytes.saturating_sub(OFFSET_WEIGHT * indexes);
            self.forget_lane_if_unused(lane);
        }
    }

    fn collect(&mut self, mut touched: Touched, wakers: &mut Vec<Waker>) {
        if touched.everybody {
            self.everybody.take_into(wakers);
        } else {
            touched.lanes.sort_unstable();
            touched.lanes.dedup();
            touched.groups.sort_unstable();
            touched.groups.dedup();
            // A lane may have been evicted again within the batch; it then has no followers.
            for lane in touched.lanes.iter().filter_map(|id| self.lanes.get(*id)) {
                lane.index.signals.take_into(wakers);
            }
            for group in touched.groups.iter().filter_map(|id| self.groups.get(*id)) {
                group.index.signals.take_into(wakers);
            }
        }
        let watermark = self.watermark;
        self.awaiting.retain(|(seq, signal)| {
            let reached = *seq <= watermark;
            if reached {
                wakers.extend(signal.take());
            }
            !reached
        });
    }
}
