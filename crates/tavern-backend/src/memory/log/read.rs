//! Reading the log.

use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use super::{LaneState, Log};
use crate::{Entry, FilterSet, Floor, Head, Lane, LogTime, Page, ReadQuery, Scope, Topic, wire};

/// How many floors a page names that was asked for all lanes.
const MOST_FLOORS: usize = 4096;

impl Log {
    pub(in super::super) fn describe(&self, now: LogTime) -> Head {
        Head {
            position: self.head(),
            lineage: Arc::clone(&self.lineage),
            now,
            horizon: self.horizon,
            retention: Arc::clone(&self.retention),
            format: wire::WRITES,
        }
    }

    pub(in super::super) fn read(&self, query: &ReadQuery) -> Page {
        let mut to = query.to.min(self.head);
        let mut entries = Vec::new();
        if to > query.after {
            entries = self.entries_in(query, to);
            if entries.len() > query.limit.max(1) {
                entries.truncate(query.limit.max(1));
                to = entries.last().map_or(to, |entry| entry.position.seq);
            }
        }
        let (floors, floors_complete) = self.floors_above(query);
        Page {
            epoch: self.lineage.epoch,
            after: query.after,
            to,
            entries,
            undecodable: Vec::new(),
            floors,
            floors_complete,
            horizon: self.horizon,
            head: self.head,
        }
    }

    /// One more entry than the limit, if there are so many.
    fn entries_in(&self, query: &ReadQuery, to: u64) -> Vec<Arc<Entry>> {
        let most = query.limit.max(1).saturating_add(1);
        let span = usize::try_from(to - query.after).unwrap_or(usize::MAX);
        if let Some(filters) = exact(query) {
            let lanes: Vec<_> = filters.topics().flat_map(|topic| self.lanes_of(topic)).collect();
            if lanes.len() < span.min(self.entries.len()) {
                let mut seqs = Vec::new();
                for (_, lane) in lanes {
                    let first = lane.kept.partition_point(|(seq, _)| *seq <= query.after);
                    let kept = lane.kept.range(first..).map(|(seq, _)| *seq);
                    seqs.extend(kept.take_while(|seq| *seq <= to).take(most));
                }
                seqs.sort_unstable();
                let found = seqs.into_iter().filter_map(|seq| self.entries.get(&seq));
                return found.take(most).map(Arc::clone).collect();
            }
        }
        let wanted = |entry: &&Arc<Entry>| {
            query.filters.as_ref().is_none_or(|f| f.matches(&entry.envelope().topic))
        };
        let range = self.entries.range((Excluded(query.after), Included(to)));
        range.map(|(_, entry)| entry).filter(wanted).take(most).map(Arc::clone).collect()
    }

    fn floors_above(&self, query: &ReadQuery) -> (Vec<Floor>, bool) {
        let floor = |seq: u64, lane: Lane| Floor { lane, seq };
        if let Some(filters) = exact(query) {
            let mut floors = Vec::new();
            for topic in filters.topics() {
                for (scope, lane) in self.lanes_of(topic).filter(|(_, l)| l.floor > query.after) {
                    let scope = scope.clone();
                    floors.push(floor(lane.floor, Lane { topic: topic.clone(), scope }));
                }
            }
            return (floors, true);
        }
        let above = self.index.floors.range((query.after.saturating_add(1), 0)..);
        let wanted = above.filter(|(_, lane)| query.wants(lane));
        let cap = if query.filters.is_none() { MOST_FLOORS } else { usize::MAX };
        let mut wanted = wanted.map(|((seq, _), lane)| floor(*seq, lane.clone()));
        let floors = wanted.by_ref().take(cap).collect();
        (floors, wanted.next().is_none())
    }

    fn lanes_of(&self, topic: &Topic) -> impl Iterator<Item = (&Option<Scope>, &LaneState)> {
        self.lanes.get(topic).into_iter().flatten()
    }
}

/// The filters of a query, if none is a wildcard.
fn exact(query: &ReadQuery) -> Option<&FilterSet> {
    query.filters.as_deref().filter(|filters| filters.wildcards().is_empty())
}
