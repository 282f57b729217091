//! The log itself: a plain data structure that is told the time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::{
    Entry, Epoch, Lane, Lineage, LogTime, MessageId, Position, Record, Rejection, Retention, Scope,
    Topic,
};

use super::MemoryConfig;
use super::keys::Keys;
use super::lane::{LaneState, Printer};

mod read;

#[derive(Debug)]
pub(super) struct Log {
    config: MemoryConfig,
    lineage: Arc<Lineage>,
    retention: Arc<Retention>,
    head: u64,
    horizon: u64,
    /// When the last entry was appended; the next is never earlier.
    last: LogTime,
    /// The epoch that the next append opens, if the log is not what its metadata says it was.
    unopened: Option<Epoch>,
    entries: BTreeMap<u64, Arc<Entry>>,
    lanes: HashMap<Topic, BTreeMap<Option<Scope>, LaneState>>,
    index: Index,
    keys: Keys,
    printer: Printer,
}

/// What is to be found among all lanes without looking at each.
#[derive(Debug, Default)]
struct Index {
    /// Floors, lowest first; with the lane's number, as after a rewind several are the same.
    floors: BTreeMap<(u64, u64), Lane>,
    /// When the oldest entry of a lane is due for removal by age.
    due: BTreeSet<(LogTime, u64)>,
    /// Lanes with nothing in them, by their last entry: the longest silent first.
    silent: BTreeMap<(LogTime, u64), Lane>,
}

/// What an append did.
#[derive(Debug)]
pub(super) enum Appended {
    Stored(Arc<Entry>),
    Duplicate(Position),
    Rejected(Rejection),
}

impl Log {
    pub(super) fn new(config: MemoryConfig, epoch: Epoch, now: LogTime) -> Self {
        Self {
            lineage: Arc::new(Lineage::first(epoch)),
            retention: Arc::new(config.retention.clone()),
            head: 0,
            horizon: 0,
            last: now,
            unopened: None,
            entries: BTreeMap::new(),
            lanes: HashMap::new(),
            index: Index::default(),
            keys: Keys::new(config.dedup_window, now),
            printer: Printer::default(),
            config,
        }
    }

    pub(super) fn head(&self) -> Position {
        self.position(self.head)
    }

    pub(super) fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Appends `record` unless the log has it.
    pub(super) fn append(&mut self, record: Record, now: LogTime) -> Appended {
        if let Some(seq) = self.keys.find(record.origin) {
            return Appended::Duplicate(self.position(seq));
        }
        let Lane { topic, scope } = record.envelope.lane();
        let print = record.envelope.id.as_ref().map(|_| self.printer.print(&record.envelope));
        let id = record.envelope.id.as_ref().zip(print);
        let known = self.lanes.get_mut(&topic).and_then(|scopes| scopes.get_mut(&scope));
        if let Some((id, print)) = id
            && let Some(lane) = known
        {
            lane.forget_ids(self.config.id_window, now);
            if let Some((seq, other)) = lane.id(id) {
                let position = self.position(seq);
                return if print == other {
                    Appended::Duplicate(position)
                } else {
                    Appended::Rejected(Rejection::IdConflict { id: id.clone(), position })
                };
            }
        }

        if let Some(epoch) = self.unopened.take() {
            self.open(epoch);
        }
        self.head += 1;
        self.last = self.last.max(now);
        let (seq, appended) = (self.head, self.last);
        self.keys.insert(record.origin, seq, appended);
        let lanes = self.lanes.entry(topic.clone()).or_default();
        // A lane's first seq is its own alone, and so a number for it.
        let lane = lanes
            .entry(scope.clone())
            .or_insert_with(|| LaneState::new(seq, self.retention.of(&topic)));
        self.index.leave(lane);
        lane.push(seq, appended, id);
        trim(lane, &mut self.entries, appended);
        lane.forget_ids(self.config.id_window, appended);
        self.index.enter(topic, scope, lane);
        let entry = Arc::new(Entry { position: self.position(seq), appended, record });
        self.entries.insert(seq, Arc::clone(&entry));
        Appended::Stored(entry)
    }

    /// Notes a position that a node has seen.
    pub(super) fn learn(&mut self, known: Position) {
        if known.epoch != self.lineage.epoch {
            Arc::make_mut(&mut self.lineage).learn(known);
        }
    }

    /// Removes what is too old. Everything that looks at the log does this first.
    pub(super) fn sweep(&mut self, now: LogTime) {
        while let Some((due, seq)) = self.index.due.first().copied()
            && due <= now
        {
            let lane = self.entries.get(&seq).map(|entry| entry.lane());
            match lane {
                Some(lane) => self.change(lane, |lane, entries| trim(lane, entries, now)),
                // The index never names an entry that is gone; if it did, this would not end.
                None => drop(self.index.due.pop_first()),
            }
        }
        let silence = self.config.forget_after.max(self.config.id_window);
        while let Some(silent) = self.index.silent.first_entry()
            && silent.key().0.after(silence) <= now
        {
            let lane = silent.remove();
            self.forget(&lane);
        }
        self.keys.sweep(now);
    }

    /// Loses everything above `to`, as an engine does that fails over to a copy that was behind. The
    /// next append opens `epoch`.
    pub(super) fn rewind(&mut self, to: u64, epoch: Epoch) {
        self.unopened = Some(epoch);
        self.head = self.head.min(to);
        self.horizon = self.horizon.min(to);
        self.entries.split_off(&(to.saturating_add(1)));
        self.keys.rewind(to);
        self.index = Index::default();
        for (topic, scopes) in &mut self.lanes {
            scopes.retain(|_, lane| {
                lane.rewind(to);
                lane.floor > 0 || !lane.kept.is_empty()
            });
            for (scope, lane) in scopes {
                self.index.enter(topic.clone(), scope.clone(), lane);
            }
        }
        self.lanes.retain(|_, scopes| !scopes.is_empty());
    }

    /// The seq of the entry that was given `id` in this lane.
    pub(super) fn find(&self, lane: &Lane, id: &MessageId) -> Option<u64> {
        self.lanes.get(&lane.topic)?.get(&lane.scope)?.id(id).map(|(seq, _)| seq)
    }

    fn position(&self, seq: u64) -> Position {
        Position::new(self.lineage.epoch, seq)
    }

    /// Ends the current epoch here. What is kept counts in the new one.
    fn open(&mut self, epoch: Epoch) {
        Arc::make_mut(&mut self.lineage).fork(epoch, self.head);
        for entry in self.entries.values_mut() {
            Arc::make_mut(entry).position.epoch = epoch;
        }
    }

    fn change(
        &mut self,
        Lane { topic, scope }: Lane,
        change: impl FnOnce(&mut LaneState, &mut BTreeMap<u64, Arc<Entry>>),
    ) {
        let lane = self.lanes.get_mut(&topic).and_then(|scopes| scopes.get_mut(&scope));
        if let Some(lane) = lane {
            self.index.leave(lane);
            change(lane, &mut self.entries);
            self.index.enter(topic, scope, lane);
        }
    }

    /// Folds a lane that nothing is left of into the horizon.
    fn forget(&mut self, lane: &Lane) {
        let Some(scopes) = self.lanes.get_mut(&lane.topic) else { return };
        if let Some(state) = scopes.remove(&lane.scope) {
            self.index.leave(&state);
            self.horizon = self.horizon.max(state.last.0);
        }
        if scopes.is_empty() {
            self.lanes.remove(&lane.topic);
        }
    }
}

impl Index {
    /// Takes a lane out, before it changes.
    fn leave(&mut self, lane: &LaneState) {
        if let Some(due) = lane.due() {
            self.due.remove(&due);
        }
        self.floors.remove(&(lane.floor, lane.number));
        self.silent.remove(&(lane.last.1, lane.number));
    }

    /// Puts a lane in, after it changed.
    fn enter(&mut self, topic: Topic, scope: Option<Scope>, lane: &LaneState) {
        self.due.extend(lane.due());
        let key = Lane { topic, scope };
        if lane.kept.is_empty() {
            self.silent.insert((lane.last.1, lane.number), key.clone());
        }
        if lane.floor > 0 {
            self.floors.insert((lane.floor, lane.number), key);
        }
    }
}

fn trim(lane: &mut LaneState, entries: &mut BTreeMap<u64, Arc<Entry>>, now: LogTime) {
    while lane.is_over(now)
        && let Some(seq) = lane.trim()
    {
        entries.remove(&seq);
    }
}
