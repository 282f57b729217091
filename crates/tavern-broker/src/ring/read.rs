//! Reading the ring: a bounded number of slots at a time, from an offset on.

use std::sync::Arc;

use tavern_backend::Position;

use super::index::Index;
use super::{Follow, Item, Ring, State};
use crate::frame::Frame;
use crate::marker::Marker;

/// Slots of a group older than its index that are looked at under one lock.
const SCAN: u64 = 4_096;

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

    /// Reads what `follow` covers from `at` on, up to about `max` items, into `out`. `seen` is the
    /// reader's seq: evicted entries up to there are no loss to it. Live messages that were
    /// evicted unread are told in `lost_live`.
    pub(crate) fn read(
        &self,
        follow: &Follow,
        mut at: u64,
        seen: u64,
        max: usize,
        out: &mut Vec<Got>,
        lost_live: &mut bool,
    ) -> Read {
        let state = self.read_state();
        if at < state.base {
            let fallen = state.indexes(follow).any(|i| i.evicted > at && i.evicted_seq > seen);
            *lost_live |= state.indexes(follow).any(|index| index.evicted_live > at);
            if fallen || state.evicted_marker > at {
                return Read::Fallen { base: state.base };
            }
            at = state.base;
        }
        let end = match follow {
            Follow::Lanes(lanes) => state.merge(lanes, at, max, out),
            Follow::Group(group) => {
                let since = state.groups[*group].since;
                if at < since {
                    state.scan(*group, at, since, max, out)
                } else {
                    state.follow_group(*group, at, max, out)
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

    fn take(&self, offset: u64, out: &mut Vec<Got>) {
        out.extend(self.slot(offset).map(|slot| match &slot.item {
            Item::Entry { frame, .. } => Got::Entry(Arc::clone(frame)),
            Item::Live { frame, .. } => Got::Live(offset, Arc::clone(frame)),
            Item::Marker(marker) => Got::Marker(offset, slot.seq, Arc::clone(marker)),
        }));
    }

    /// Reads lanes and markers in the order of their offsets. Returns the offset to go on at.
    fn merge(&self, lanes: &[usize], at: u64, max: usize, out: &mut Vec<Got>) -> u64 {
        if let [lane] = lanes {
            return self.one_and_markers(&self.lanes[*lane].index, at, max, out);
        }
        let mut heads: Vec<(&Index, usize)> = lanes
            .iter()
            .map(|id| &self.lanes[*id].index)
            .map(|index| (index, index.seek(at)))
            .collect();
        let mut marker = self.markers.partition_point(|o| *o < at);
        for _ in 0..max {
            let lane = heads
                .iter()
                .enumerate()
                .filter_map(|(n, (index, next))| Some((*index.offsets.get(*next)?, n)))
                .min();
            let mark = self.markers.get(marker).copied();
            match (lane, mark) {
                (Some((offset, n)), mark) if mark.is_none_or(|mark| offset < mark) => {
                    heads[n].1 += 1;
                    self.take(offset, out);
                }
                (_, Some(offset)) => {
                    marker += 1;
                    self.take(offset, out);
                }
                (_, None) => return self.end(),
            }
        }
        let lane = heads.iter().filter_map(|(index, next)| index.offsets.get(*next)).min();
        lane.into_iter().chain(self.markers.get(marker)).min().copied().unwrap_or(self.end())
    }

    fn follow_group(&self, group: usize, at: u64, max: usize, out: &mut Vec<Got>) -> u64 {
        self.one_and_markers(&self.groups[group].index, at, max, out)
    }

    /// The common case, one index, without a merge of many.
    fn one_and_markers(&self, index: &Index, at: u64, max: usize, out: &mut Vec<Got>) -> u64 {
        let mut next = index.seek(at);
        let mut marker = match self.markers.back() {
            Some(last) if *last >= at => self.markers.partition_point(|o| *o < at),
            _ => self.markers.len(),
        };
        for _ in 0..max {
            let (lane, mark) = (index.offsets.get(next), self.markers.get(marker));
            match (lane, mark) {
                (Some(offset), mark) if mark.is_none_or(|mark| offset < mark) => {
                    next += 1;
                    self.take(*offset, out);
                }
                (_, Some(offset)) => {
                    marker += 1;
                    self.take(*offset, out);
                }
                (_, None) => return self.end(),
            }
        }
        let lane = index.offsets.get(next).into_iter();
        lane.chain(self.markers.get(marker)).min().copied().unwrap_or(self.end())
    }

    /// Reads slots that are older than the group's index one by one.
    fn scan(&self, group: usize, at: u64, since: u64, max: usize, out: &mut Vec<Got>) -> u64 {
        let stop = since.min(self.end()).min(at + SCAN);
        let most = out.len() + max;
        for offset in at..stop {
            if out.len() >= most {
                return offset;
            }
            let Some(slot) = self.slot(offset) else { continue };
            if matches!(slot.item, Item::Marker(_)) || self.concerns_group(&slot.item, group) {
                self.take(offset, out);
            }
        }
        stop
    }
}
