//! The newest messages of an index in one piece, made once for all who read them.
//!
//! Whoever keeps up is woken by the same append and wants the same messages: it gets a reference
//! to the run, and none to each message. The first to read makes it; the next append to the index,
//! or the eviction of its first message, ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tavern_backend::Position;

use super::index::Index;
use super::read::{Limit, Room};
use super::{Follow, Item, Ring, State};
use crate::delivery::{Delivery, Message};

/// The most messages in a run, and the most bytes. Who is further behind reads one by one.
const MOST: usize = 256;
const MOST_BYTES: usize = 128 << 10;
/// What a run costs beyond its messages.
const OVERHEAD: usize = 96;

/// The messages of an index from one on to its end.
#[derive(Debug)]
pub(super) struct Run {
    /// The offset of the first.
    pub(super) first: u64,
    shared: Arc<Shared>,
}

/// What a run and its parts share: the messages, and what they take of the ring's account until
/// the last part is gone.
#[derive(Debug)]
struct Shared {
    deliveries: Box<[Delivery]>,
    /// Bytes of the messages themselves, which the ring accounts for as long as they are in it.
    messages: usize,
    account: Arc<AtomicUsize>,
    charged: AtomicUsize,
}

impl Shared {
    fn charge(&self, bytes: usize) {
        self.charged.fetch_add(bytes, Relaxed);
        self.account.fetch_add(bytes, Relaxed);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.account.fetch_sub(*self.charged.get_mut(), Relaxed);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Parts keep the messages from now on, whether or not the ring still has them.
        if Arc::strong_count(&self.shared) > 1 {
            self.shared.charge(self.shared.messages);
        }
    }
}

/// A part of a run, for one reader.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    run: Arc<Shared>,
    from: usize,
    to: usize,
}

impl Part {
    pub(crate) fn deliveries(&self) -> &[Delivery] {
        &self.run.deliveries[self.from..self.to]
    }
}

impl Ring {
    /// What `follow` covers from `at` on, up to `limit`, if it can be shared with other
    /// readers; and the offset to go on at. `seen` is the reader's position. `None` says only that
    /// it has to be asked for with [`Ring::read`].
    pub(crate) fn share(
        &self,
        follow: &Follow,
        at: u64,
        seen: Position,
        limit: Limit,
    ) -> Option<(Part, u64)> {
        let state = self.read_state();
        let index = state.single(follow, at)?;
        let unmarked = state.markers.back().is_none_or(|marker| *marker < at);
        if at < state.base || !unmarked || state.epoch != Some(seen.epoch) {
            return None;
        }
        let next = index.seek(at);
        if index.offsets.len() - next > MOST {
            return None;
        }
        // One that comes from too far leaves it to who keeps up.
        if index.run.get().is_none() && state.bytes_of(index, next) > MOST_BYTES {
            return None;
        }
        let run = &index.run.get_or_init(|| state.run(index, next)).as_ref()?.shared;
        // A run always reaches to the end of its index.
        let from = run.deliveries.len().checked_sub(index.offsets.len() - next)?;
        let first = run.deliveries.get(from)?.cursor()?;
        if first.0.epoch != seen.epoch || first.0.seq <= seen.seq {
            return None;
        }
        let mut room = Room::new(limit);
        let fits = |delivery: &&Delivery| match delivery {
            Delivery::Message(message) => room.admits(message.encoded().len()),
            _ => false,
        };
        let to = from + run.deliveries[from..].iter().take_while(fits).count();
        let at = match index.offsets.get(next + (to - from)) {
            Some(offset) => *offset,
            None => state.end(),
        };
        Some((Part { run: Arc::clone(run), from, to }, at))
    }
}

impl State {
    /// The one index that is followed from `at` on, if others follow it too.
    fn single(&self, follow: &Follow, at: u64) -> Option<&Index> {
        let index = match follow {
            Follow::Lanes(lanes) => match lanes.as_slice() {
                [lane] => &self.lanes[*lane].index,
                _ => return None,
            },
            Follow::Group(group) => {
                let group = &self.groups[*group];
                (at >= group.since).then_some(&group.index)?
            }
        };
        (index.signals.len() > 1).then_some(index)
    }

    /// Bytes of the messages that `index` has from place `next` on.
    fn bytes_of(&self, index: &Index, next: usize) -> usize {
        let slots = index.offsets.range(next..).filter_map(|offset| self.slot(*offset));
        slots.map(|slot| slot.weight).sum()
    }

    /// Makes a run of what `index` has from place `next` on; `None` if it has nothing, or something
    /// that each reader has to look at for itself.
    fn run(&self, index: &Index, next: usize) -> Option<Run> {
        let first = *index.offsets.get(next)?;
        let deliveries: Option<Box<[Delivery]>> = index
            .offsets
            .range(next..)
            .map(|offset| match &self.slot(*offset)?.item {
                Item::Entry { frame, .. } if frame.expires.is_none() => {
                    Some(Delivery::Message(Message(Arc::clone(frame))))
                }
                Item::Entry { .. } | Item::Live { .. } | Item::Marker(_) => None,
            })
            .collect();
        let deliveries = deliveries?;
        let shared = Arc::new(Shared {
            deliveries,
            messages: self.bytes_of(index, next),
            account: Arc::clone(&self.runs),
            charged: AtomicUsize::new(0),
        });
        shared.charge(OVERHEAD + size_of_val(&*shared.deliveries));
        Some(Run { first, shared })
    }
}

#[cfg(test)]
mod tests;
