//! Who follows what: a few lanes directly, or a group for wildcards and large sets.

use std::sync::Arc;

use tavern_backend::{FilterSet, Lane, Scope, TopicFilter};
use tokio::time::Instant;

use super::index::{Group, GroupKey, Index, OFFSET_WEIGHT};
use super::{Item, Ring, State};
use crate::signal::Signal;

/// Exact topics that are merged lane by lane at each read; more of them share a group.
const MERGED_LANES: usize = 16;

/// What a subscriber follows.
#[derive(Debug, Clone)]
pub(crate) enum Follow {
    Lanes(Vec<usize>),
    Group(usize),
}

/// A subscriber's place in the ring's indexes; dropping it gives the place up.
#[derive(Debug)]
pub(crate) struct Following {
    ring: Arc<Ring>,
    pub(crate) follow: Follow,
    pub(crate) signal: Arc<Signal>,
    keys: Vec<usize>,
    everybody: usize,
    /// The offset at which it began: live messages before it are not its own.
    pub(crate) since: u64,
    /// Since when the backend was away at that moment.
    pub(crate) down_since: Option<Instant>,
}

impl Ring {
    /// Takes a subscriber in: from here on it is woken by what concerns it.
    pub(crate) fn follow(
        self: &Arc<Self>,
        filters: &[TopicFilter],
        scope: Option<&Scope>,
    ) -> Following {
        let signal = Arc::new(Signal::default());
        let topics: Vec<_> = filters.iter().map(TopicFilter::as_topic).collect();
        let merged = topics.len() <= MERGED_LANES && topics.iter().all(Option::is_some);
        let mut state = self.write_state();
        let everybody = state.everybody.add(&signal);
        let (follow, keys) = if merged {
            let mut lanes: Vec<_> = topics
                .into_iter()
                .flatten()
                .map(|topic| state.lane(&Lane { topic, scope: scope.cloned() }))
                .collect();
            lanes.sort_unstable();
            lanes.dedup();
            let keys = lanes.iter().map(|id| state.lanes[*id].index.signals.add(&signal)).collect();
            (Follow::Lanes(lanes), keys)
        } else {
            let id = state.group(filters, scope);
            let key = state.groups[id].index.signals.add(&signal);
            (Follow::Group(id), vec![key])
        };
        let (since, down_since) = (state.end(), state.down_since);
        drop(state);
        Following { ring: Arc::clone(self), follow, signal, keys, everybody, since, down_since }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut state = self.ring.write_state();
        state.everybody.remove(self.everybody);
        let signal = &self.signal;
        state.awaiting.retain(|(_, waiting)| !Arc::ptr_eq(waiting, signal));
        match &self.follow {
            Follow::Lanes(lanes) => {
                for (id, key) in lanes.iter().zip(&self.keys) {
                    state.lanes[*id].index.signals.remove(*key);
                    state.forget_lane_if_unused(*id);
                }
            }
            Follow::Group(id) => {
                for key in &self.keys {
                    state.groups[*id].index.signals.remove(*key);
                }
                state.forget_group_if_unused(*id);
            }
        }
    }
}

impl State {
    fn group(&mut self, filters: &[TopicFilter], scope: Option<&Scope>) -> usize {
        let mut filters = filters.to_vec();
        filters.sort_unstable();
        filters.dedup();
        let key = GroupKey { filters, scope: scope.cloned() };
        if let Some(id) = self.group_ids.get(&key) {
            return *id;
        }
        let group = Group {
            matching: key.filters.iter().cloned().collect::<FilterSet>(),
            key: key.clone(),
            index: Index::new(self.base, self.evicted_seq),
            since: self.end(),
        };
        let matching: Vec<_> =
            self.lanes.iter().filter(|(_, l)| group.wants(&l.lane)).map(|(id, _)| id).collect();
        let id = self.groups.insert(group);
        self.group_ids.insert(key, id);
        for lane in matching {
            self.lanes[lane].groups.push(id);
            // Charged as if its slots were in the new index too: they are given back at eviction.
            self.bytes += OFFSET_WEIGHT * self.lanes[lane].index.offsets.len();
        }
        id
    }

    fn forget_group_if_unused(&mut self, id: usize) {
        if self.groups[id].index.signals.len() > 0 {
            return;
        }
        let group = self.groups.remove(id);
        self.group_ids.remove(&group.key);
        for (_, lane) in &mut self.lanes {
            if let Some(place) = lane.groups.iter().position(|g| *g == id) {
                lane.groups.swap_remove(place);
                let slots = lane.index.offsets.len();
                self.bytes = self.bytes.saturating_sub(OFFSET_WEIGHT * slots);
            }
        }
    }

    /// Whether the slot at `offset` concerns a group, for slots older than the group's index.
    pub(super) fn concerns_group(&self, item: &Item, group: usize) -> bool {
        item.lane()
            .and_then(|lane| self.lanes.get(lane))
            .is_some_and(|lane| lane.groups.contains(&group))
    }
}
