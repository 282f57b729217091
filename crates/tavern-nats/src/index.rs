//! What lies where in the log: a node's own index of the newest part of it, which says which seqs
//! to fetch and where the floors are.
//!
//! JetStream can say neither. It stores at most so many messages of a subject, so whoever has seen
//! *all* stored messages between a position and the head knows every floor in that range: an entry
//! is gone only if as many newer ones of its lane as the rule keeps are there. The pushes carry the
//! index forward while they come without a break; a scan of headers closes a break, and reaches
//! further back when a reader comes from there.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Epoch, FilterSet, Floor, Keep, Lane, LogTime, Retention};

use crate::names::parse_lane;
use crate::stream::Limits;

/// Pushes beyond a break that are kept for when it is closed.
const AHEAD: usize = 4096;
/// Floors that one page names.
const FLOORS: usize = 4096;
/// Entries that an index knows at most, some 40 bytes each; beyond that the oldest are forgotten.
const MOST: usize = 4 << 20;
/// Lanes that it knows at most, likewise.
const MOST_LANES: usize = 1 << 20;

/// A message as far as the index cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen<'a> {
    pub(crate) seq: u64,
    /// The end of its subject, see [`crate::names::lane_name`].
    pub(crate) name: &'a str,
    pub(crate) time: LogTime,
}

#[derive(Debug)]
struct InLane {
    /// `None` for a name that is not one of ours.
    lane: Option<Arc<Lane>>,
    /// Entries that count; the one before them is the floor.
    keep: u32,
    age: Duration,
    /// The last seq that is gone or counts as gone, as far as this range tells; 0 if none.
    floor: u64,
    /// The entries that count, oldest first.
    entries: VecDeque<(u64, LogTime)>,
}

type Number = u32;

/// Knows everything in `low + 1 ..= high`.
#[derive(Debug)]
pub(crate) struct Index {
    /// The epoch its seqs count in; no other log ever had it.
    epoch: Epoch,
    low: u64,
    high: u64,
    retention: Arc<Retention>,
    limits: Limits,
    lanes: Vec<InLane>,
    numbers: HashMap<Box<str>, Number>,
    /// All entries by seq, the dead ones among them until they are too many.
    order: VecDeque<(u64, Number)>,
    dead: usize,
    /// Lanes that have a floor.
    floors: BTreeSet<(u64, Number)>,
    ahead: VecDeque<(u64, Number, LogTime)>,
    /// It holds as much as it may: it does not reach further back.
    full: bool,
    /// What it knows is only whole once it knows everything up to here: what went while it was
    /// scanned went because of something that was appended meanwhile.
    due: u64,
    most: usize,
    most_lanes: usize,
}

/// What a page is made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The entries to fetch.
    pub(crate) seqs: Vec<u64>,
    /// The plan speaks of everything up to here.
    pub(crate) to: u64,
    pub(crate) floors: Vec<Floor>,
    pub(crate) floors_complete: bool,
    /// Nothing is known of what was asked for up to here.
    pub(crate) unknown: u64,
}

impl Index {
    /// An index that knows nothing below or at `head`.
    pub(crate) fn new(head: u64, epoch: Epoch, retention: Arc<Retention>, limits: Limits) -> Self {
        Self {
            epoch,
            low: head,
            high: head,
            retention,
            limits,
            lanes: Vec::new(),
            numbers: HashMap::new(),
            order: VecDeque::new(),
            dead: 0,
            floors: BTreeSet::new(),
            ahead: VecDeque::new(),
            full: false,
            due: 0,
            most: MOST,
            most_lanes: MOST_LANES,
        }
    }

    /// Whether it holds as much as it may, so that what lies below it stays unknown.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    pub(crate) const fn low(&self) -> u64 {
        self.low
    }

    pub(crate) const fn high(&self) -> u64 {
        self.high
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Another epoch goes on from what it knows.
    pub(crate) fn enter(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// The last seq that it has heard of.
    pub(crate) fn furthest(&self) -> u64 {
        self.ahead.back().map_or(self.high, |(seq, ..)| (*seq).max(self.high))
    }

    /// Whether it knows everything in `low + 1 ..= to`, and all floors of it.
    pub(crate) const fn is_whole(&self, to: u64) -> bool {
        self.high >= to && self.high >= self.due
    }

    /// The head, asked for after the last scan: knowing everything up to there is enough.
    pub(crate) fn settle(&mut self, head: u64) {
        self.due = head;
    }

    /// The lane of a message, kept for the next of it.
    pub(crate) fn lane(&mut self, name: &str) -> Option<Arc<Lane>> {
        let number = self.number(name);
        self.at(number).lane.clone()
    }

    fn at(&mut self, number: Number) -> &mut InLane {
        &mut self.lanes[usize::try_from(number).unwrap_or(usize::MAX)]
    }

    fn number(&mut self, name: &str) -> Number {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let lane = parse_lane(name).map(Arc::new);
        // What nobody can name is kept, so that everybody is told that it cannot be read.
        let unknown = Keep::new(u32::MAX, Duration::ZERO);
        let Keep { entries, age, .. } =
            lane.as_ref().map_or(unknown, |lane| self.retention.of(&lane.topic));
        // A stream that keeps less than the rule asks for: what it drops has a floor all the same.
        let most = self.limits.per_subject.map_or(u64::MAX, |limit| limit.saturating_sub(1));
        let keep = entries.min(u32::try_from(most).unwrap_or(u32::MAX));
        let number = Number::try_from(self.lanes.len()).unwrap_or(Number::MAX);
        self.lanes.push(InLane { lane, keep, age, floor: 0, entries: VecDeque::new() });
        self.numbers.insert(name.into(), number);
        number
    }

    /// Takes a push. One beyond a break waits until that is closed.
    pub(crate) fn pushed(&mut self, seen: Seen<'_>) {
        if seen.seq <= self.high {
            return;
        }
        let number = self.number(seen.name);
        if seen.seq == self.high + 1 {
            self.append(seen.seq, number, seen.time);
            self.go_on();
        } else {
            if self.ahead.len() == AHEAD || self.ahead.back().is_some_and(|a| a.0 >= seen.seq) {
                // Whatever it was, a scan will tell.
                self.ahead.clear();
            }
            self.ahead.push_back((seen.seq, number, seen.time));
        }
    }

    /// Takes all that is stored above what is known, up to `to`.
    pub(crate) fn scanned_above<'a>(&mut self, found: impl Iterator<Item = Seen<'a>>, to: u64) {
        for seen in found {
            if seen.seq > self.high && seen.seq <= to {
                let number = self.number(seen.name);
                self.append(seen.seq, number, seen.time);
            }
        }
        self.high = self.high.max(to);
        self.due = u64::MAX;
        self.go_on();
    }

    /// Takes all that is stored in `low + 1` up to what is known, newest first.
    pub(crate) fn scanned_below<'a>(&mut self, found: impl Iterator<Item = Seen<'a>>, low: u64) {
        self.due = u64::MAX;
        for seen in found {
            if seen.seq > self.low || seen.seq <= low {
                continue;
            }
            if self.order.len() >= self.most || self.lanes.len() >= self.most_lanes {
                self.low = seen.seq;
                self.full = true;
                return;
            }
            let number = self.number(seen.name);
            let lane = self.at(number);
            if lane.floor > 0 {
                continue;
            }
            if lane.entries.len() >= usize::try_from(lane.keep).unwrap_or(usize::MAX) {
                lane.floor = seen.seq;
                self.floors.insert((seen.seq, number));
            } else {
                lane.entries.push_front((seen.seq, seen.time));
                self.order.push_front((seen.seq, number));
            }
        }
        self.low = self.low.min(low);
    }

    fn go_on(&mut self) {
        while let Some((seq, number, time)) = self.ahead.front().copied() {
            if seq > self.high + 1 {
                break;
            }
            self.ahead.pop_front();
            if seq > self.high {
                self.append(seq, number, time);
            }
        }
    }

    fn append(&mut self, seq: u64, number: Number, time: LogTime) {
        self.high = seq;
        self.order.push_back((seq, number));
        let lane = self.at(number);
        // Clocks of publishers differ a little; an age only ever rises with the seq.
        let time = lane.entries.back().map_or(time, |(_, last)| time.max(*last));
        lane.entries.push_back((seq, time));
        if lane.entries.len() > usize::try_from(lane.keep).unwrap_or(usize::MAX) {
            self.cut(number);
        }
        if self.dead > 1024 && self.dead * 2 > self.order.len() {
            self.bury();
        }
        if self.order.len() > self.most || self.lanes.len() > self.most_lanes {
            self.bury();
            self.forget();
        }
    }

    /// Takes the dead out of the order.
    fn bury(&mut self) {
        let lanes = &self.lanes;
        let alive = |(seq, number): &(u64, Number)| {
            usize::try_from(*number).is_ok_and(|n| *seq > lanes[n].floor)
        };
        self.order.retain(alive);
        self.dead = 0;
    }

    /// Forgets the older half of what it knows: who comes from there is read for anew.
    fn forget(&mut self) {
        let half = self.order.len() / 2;
        let Some((low, _)) = self.order.get(half).copied() else { return };
        self.low = low;
        self.order.drain(..=half);
        let mut numbers = HashMap::new();
        let mut lanes = Vec::new();
        let mut renumbered = vec![None; self.lanes.len()];
        let names = std::mem::take(&mut self.numbers);
        let mut names = names.into_iter().collect::<Vec<_>>();
        names.sort_unstable_by_key(|(_, number)| *number);
        for ((name, old), mut lane) in names.into_iter().zip(self.lanes.drain(..)) {
            let start = lane.entries.partition_point(|(seq, _)| *seq <= low);
            lane.entries.drain(..start);
            if lane.floor <= low {
                lane.floor = 0;
            }
            let awaited = self.ahead.iter().any(|(_, number, _)| *number == old);
            if lane.entries.is_empty() && lane.floor == 0 && !awaited {
                continue;
            }
            let number = Number::try_from(lanes.len()).unwrap_or(Number::MAX);
            if let Some(at) = usize::try_from(old).ok().and_then(|old| renumbered.get_mut(old)) {
                *at = Some(number);
            }
            numbers.insert(name, number);
            lanes.push(lane);
        }
        let new = |old: Number| {
            usize::try_from(old).ok().and_then(|old| *renumbered.get(old)?).unwrap_or(Number::MAX)
        };
        for (_, number) in &mut self.order {
            *number = new(*number);
        }
        for (_, number, _) in &mut self.ahead {
            *number = new(*number);
        }
        let floors = std::mem::take(&mut self.floors).into_iter();
        self.floors =
            floors.filter(|(seq, _)| *seq > low).map(|(seq, old)| (seq, new(old))).collect();
        self.lanes = lanes;
        self.numbers = numbers;
        self.full = false;
    }

    /// Takes the oldest entry of a lane out: it is its floor now.
    fn cut(&mut self, number: Number) {
        let lane = self.at(number);
        let Some((seq, _)) = lane.entries.pop_front() else { return };
        let old = std::mem::replace(&mut lane.floor, seq);
        self.floors.remove(&(old, number));
        self.floors.insert((seq, number));
        self.dead += 1;
    }

    /// Takes out of a lane what is too old.
    fn expire(&mut self, number: Number, now: LogTime) {
        let lane = self.at(number);
        if lane.age.is_zero() {
            return;
        }
        let oldest = now.before(lane.age);
        while self.at(number).entries.front().is_some_and(|(_, time)| *time <= oldest) {
            self.cut(number);
        }
    }

    /// An entry that should be there is not: its lane's floor is at least there.
    pub(crate) fn gone(&mut self, seq: u64) {
        let Ok(at) = self.order.binary_search_by_key(&seq, |(seq, _)| *seq) else { return };
        let number = self.order[at].1;
        while self.at(number).entries.front().is_some_and(|(first, _)| *first <= seq) {
            self.cut(number);
        }
    }

    /// What a page for `after + 1 ..= to` is made of, `limit` entries at most. What lies below the
    /// index must be below the horizon.
    pub(crate) fn plan(
        &mut self,
        filters: Option<&FilterSet>,
        after: u64,
        to: u64,
        limit: usize,
        now: LogTime,
    ) -> Plan {
        // For each lane met, whether it is asked for.
        let mut wanted: HashMap<Number, bool> = HashMap::new();
        let (mut seqs, mut reached) = (Vec::new(), to);
        let start = self.order.partition_point(|(seq, _)| *seq <= after);
        for at in start..self.order.len() {
            let (seq, number) = self.order[at];
            if seq > to {
                break;
            }
            let known = wanted.get(&number).copied();
            let wants = known.unwrap_or_else(|| {
                let wants = self.wants(filters, number);
                wanted.insert(number, wants);
                if wants {
                    self.expire(number, now);
                }
                wants
            });
            if !wants || seq <= self.at(number).floor {
                continue;
            }
            seqs.push(seq);
            if seqs.len() >= limit {
                reached = seq;
                break;
            }
        }
        let (mut floors, mut floors_complete) = (Vec::new(), true);
        for (seq, number) in self.floors.range((after.saturating_add(1), 0)..) {
            let wants = wanted.get(number).copied().unwrap_or_else(|| self.wants(filters, *number));
            let lane = self.lanes.get(usize::try_from(*number).unwrap_or(usize::MAX));
            let Some(lane) = lane.and_then(|lane| lane.lane.as_ref()).filter(|_| wants) else {
                continue;
            };
            if floors.len() == FLOORS && filters.is_none_or(|f| !f.wildcards().is_empty()) {
                floors_complete = false;
                break;
            }
            floors.push(Floor { lane: Lane::clone(lane), seq: *seq });
        }
        let unknown = if self.full && after < self.low { self.low } else { 0 };
        Plan { seqs, to: reached, floors, floors_complete, unknown }
    }

    fn wants(&self, filters: Option<&FilterSet>, number: Number) -> bool {
        let lane = usize::try_from(number).ok().and_then(|number| self.lanes.get(number));
        match (filters, lane.and_then(|lane| lane.lane.as_ref())) {
            (None, _) => true,
            (Some(filters), Some(lane)) => filters.matches(&lane.topic),
            // Nobody knows what it is: everybody is told that it cannot be read.
            (Some(_), None) => true,
        }
    }
}

#[cfg(test)]
mod tests;
