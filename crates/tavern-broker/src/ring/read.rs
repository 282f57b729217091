//! Reading the ring: a bounded number of slots at a time, from an offset on.

use std::sync::Arc;

use tavern_backend::Position;

use super::index::Index;
use super::{Follow, Item, Ring, State};
use crate::frame::Frame;
use crate::marker::Marker;

/// Slots of a group older than its index that are looked at under one lock.
const SCAN: u64 = 4_096;

/// How much is read at once: so many items, and so many bytes of frames unless the first alone is
/// larger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

impl Limit {
    pub(crate) const fn items(items: usize) -> Self {
        Self { items, bytes: usize::MAX }
    }
}

/// What is left of a limit.
pub(super) struct Room {
    left: Limit,
    untouched: bool,
}

impl Room {
    pub(super) fn new(left: Limit) -> Self {
        Self { left, untouched: true }
    }

    /// Whether one more of so many bytes has room; it counts as taken then.
    pub(super) fn admits(&mut self, bytes: usize) -> bool {
        if self.left.items == 0 || (bytes > self.left.bytes && !self.untouched) {
            return false;
        }
        self.untouched = false;
        self.left.items -= 1;
        self.left.bytes = self.left.bytes.saturating_sub(bytes);
        true
    }
}

/// Something read.
#[derive(Debug)]
pub(crate) enum Got {
    Entry(Arc<Frame>),
    /// With its offset.
    Live(u64, Arc<Frame>),
    /// With its offset, and the watermark there.
    Marker(u64, u64, Arc<Marker>),
}

/// What a read came to.
#[derive(Debug)]
pub(crate) enum Read {
    /// Read on at this offset; there may be more.
    More { at: u64 },
    /// That was all: everything up to this position has been read.
    Drained { at: u64, position: Option<Position>, closing: bool },
    /// Entries that it follows were evicted before it read them; the ring begins at `base`.
    Fallen { base: u64 },
}

impl Ring {
    /// Where in the ring a reader goes on that has everything up to `position`; `None` if the ring
    /// cannot know that nothing lies in between.
    pub(crate) fn enter(&self, follow: &Follow, position: Position) -> Option<u64> {
        let state = self.read_state();
        let seq = position.seq;
        if state.epoch != Some(position.epoch)
            || seq < state.region_seq
            || seq < state.trimmed_seq
            || seq < state.evicted_marker_seq
            || state.indexes(follow).any(|index| index.evicted_seq > seq)
        {
            return None;
        }
        let first = state.region.max(state.base);
        // The first slot of the region above seq: slots carry watermarks, which never fall there.
        let (mut low, mut high) = (first, state.end());
        while low < high {
            let middle = low + (high - low) / 2;
            if state.slot(middle).is_some_and(|slot| slot.seq <= seq) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(low)
    }

    /// Reads what `follow` covers from `at` on, up to `limit`, into `out`. `seen` is the
    /// reader's seq: evicted entries up to there are no loss to it. Live messages that were
    /// evicted unread are told in `lost_live`.
    pub(crate) fn read(
        &self,
        follow: &Follow,
        mut at: u64,
        seen: u64,
        limit: Limit,
        out: &mut Vec<Got>,
        lost_live: &mut bool,
    ) -> Read {
        let state = self.read_state();
        if at < state.base {
            // Who has yet to pass a fork counts in seqs of which the indexes remember nothing.
            let older = at < state.region;
            let lost = |i: &Index| i.evicted > at && (older || i.evicted_seq > seen);
            let fallen = state.indexes(follow).any(lost);
            *lost_live |= state.indexes(follow).any(|index| index.evicted_live > at);
            if fallen || state.evicted_marker > at {
                return Read::Fallen { base: state.base };
            }
            at = state.base;
        }
        let room = Room::new(limit);
        let end = match follow {
            Follow::Lanes(lanes) => state.merge(lanes, at, room, out),
            Follow::Group(group) => {
                let since = state.groups[*group].since;
                if at < since {
                    state.scan(*group, at, since, room, out)
                } else {
                    state.follow_group(*group, at, room, out)
                }
            }
        };
        if end < state.end() {
            return Read::More { at: end };
        }
        let position = state.epoch.map(|epoch| Position::new(epoch, state.watermark));
        Read::Drained { at: end, position, closing: state.closing }
    }
}

impl State {
    fn indexes<'a>(&'a self, follow: &'a Follow) -> impl Iterator<Item = &'a Index> {
        let (lanes, group) = match follow {
            Follow::Lanes(lanes) => (lanes.as_slice(), None),
            Follow::Group(group) => (&[][..], Some(&self.groups[*group].index)),
        };
        lanes.iter().map(|id| &self.lanes[*id].index).chain(group)
    }

    /// Takes the slot at `offset`, if there is room for it.
    fn take(&self, offset: u64, room: &mut Room, out: &mut Vec<Got>) -> bool {
        let Some(slot) = self.slot(offset) else { return true };
        let (bytes, got) = match &slot.item {
            Item::Entry { frame, .. } => (frame.encoded.len(), Got::Entry(Arc::clone(frame))),
            Item::Live { frame, .. } => (frame.encoded.len(), Got::Live(offset, Arc::clone(frame))),
            Item::Marker(marker) => (0, Got::Marker(offset, slot.seq, Arc::clone(marker))),
        };
        let admitted = room.admits(bytes);
        out.extend(admitted.then_some(got));
        admitted
    }

    /// Reads lanes and markers in the order of their offsets. Returns the offset to go on at.
    fn merge(&self, lanes: &[usize], at: u64, mut room: Room, out: &mut Vec<Got>) -> u64 {
        if let [lane] = lanes {
            return self.one_and_markers(&self.lanes[*lane].index, at, room, out);
        }
        let mut heads: Vec<(&Index, usize)> = lanes
            .iter()
            .map(|id| &self.lanes[*id].index)
            .map(|index| (index, index.seek(at)))
            .collect();
        let mut marker = self.markers.partition_point(|o| *o < at);
        loop {
            let lane = heads
                .iter()
                .enumerate()
                .filter_map(|(n, (index, next))| Some((*index.offsets.get(*next)?, n)))
                .min();
            let mark = self.markers.get(marker).copied();
            let offset = match (lane, mark) {
                (Some((offset, n)), mark) if mark.is_none_or(|mark| offset < mark) => {
                    heads[n].1 += 1;
                    offset
                }
                (_, Some(offset)) => {
                    marker += 1;
                    offset
                }
                (_, None) => return self.end(),
            };
            if !self.take(offset, &mut room, out) {
                return offset;
            }
        }
    }

    fn follow_group(&self, group: usize, at: u64, room: Room, out: &mut Vec<Got>) -> u64 {
        self.one_and_markers(&self.groups[group].index, at, room, out)
    }

    /// The common case, one index, without a merge of many.
    fn one_and_markers(&self, index: &Index, at: u64, mut room: Room, out: &mut Vec<Got>) -> u64 {
        let mut next = index.seek(at);
        let mut marker = match self.markers.back() {
            Some(last) if *last >= at => self.markers.partition_point(|o| *o < at),
            _ => self.markers.len(),
        };
        loop {
            let (lane, mark) = (index.offsets.get(next), self.markers.get(marker));
            let offset = match (lane, mark) {
                (Some(offset), mark) if mark.is_none_or(|mark| offset < mark) => {
                    next += 1;
                    *offset
                }
                (_, Some(offset)) => {
                    marker += 1;
                    *offset
                }
                (_, None) => return self.end(),
            };
            if !self.take(offset, &mut room, out) {
                return offset;
            }
        }
    }

    /// Reads slots that are older than the group's index one by one.
    fn scan(&self, group: usize, at: u64, since: u64, mut room: Room, out: &mut Vec<Got>) -> u64 {
        let stop = since.min(self.end()).min(at + SCAN);
        for offset in at..stop {
            let Some(slot) = self.slot(offset) else { continue };
            let wanted =
                matches!(slot.item, Item::Marker(_)) || self.concerns_group(&slot.item, group);
            if wanted && !self.take(offset, &mut room, out) {
                return offset;
            }
        }
        stop
    }
}
