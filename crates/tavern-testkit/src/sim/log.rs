//! The log of the simulated engine: a plain data structure that is told the time.
//!
//! What is appended lies in a volatile tail until it is made durable; a crash may lose the tail, and
//! a fork of the epoch is opened by the first append of another incarnation, inside that append.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tavern_backend::{
    Append, Entry, Epoch, FeedEvent, Floor, Head, Keep, Lane, Lineage, LiveMessage, LogTime,
    MessageId, Origin, Page, Position, Publication, Published, ReadQuery, Record, Rejection,
    Retention, Topic, wire,
};
use tokio::time::Instant;

use super::archive::{Archive, Birth, Opened};
use super::version::{self, Form};

/// How the log behaves; its own, whatever its nodes want.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) retention: Retention,
    pub(super) dedup_window: Duration,
    pub(super) forget_after: Duration,
    /// Floors that a page of everything names at most.
    pub(super) most_floors: usize,
    pub(super) max_payload: usize,
}

#[derive(Debug)]
pub(super) struct Log {
    rules: Rules,
    pub(super) lineage: Arc<Lineage>,
    retention: Arc<Retention>,
    pub(super) head: u64,
    /// Up to here it survives a crash.
    pub(super) durable: u64,
    horizon: u64,
    last: LogTime,
    /// The life of the engine, and the one that the log's metadata holds.
    incarnation: u64,
    recorded: u64,
    entries: BTreeMap<u64, Arc<Stored>>,
    lanes: BTreeMap<Lane, LaneState>,
    keys: BTreeMap<Origin, (u64, LogTime)>,
    pub(super) archive: Archive,
}

/// An entry as it lies in the log.
#[derive(Debug)]
pub(super) struct Stored {
    seq: u64,
    bytes: Bytes,
    record: Record,
    appended: LogTime,
    birth: usize,
}

#[derive(Debug)]
struct LaneState {
    keep: Keep,
    kept: VecDeque<(u64, LogTime)>,
    floor: u64,
    last: (u64, LogTime),
    ids: BTreeMap<String, (u64, String)>,
}

impl Stored {
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    pub(super) fn topic(&self) -> &Topic {
        &self.record.envelope.topic
    }
}

/// What is to be pushed.
#[derive(Debug, Clone)]
pub(super) enum Outgoing {
    Entry(Arc<Stored>),
    Live(LiveMessage),
}

impl Log {
    pub(super) fn new(rules: Rules, epoch: Epoch, now: LogTime) -> Self {
        let mut archive = Archive::default();
        archive.epochs.push(Opened { epoch, at: None });
        Self {
            retention: Arc::new(rules.retention.clone()),
            rules,
            lineage: Arc::new(Lineage::first(epoch)),
            head: 0,
            durable: 0,
            horizon: 0,
            last: now,
            incarnation: 0,
            recorded: 0,
            entries: BTreeMap::new(),
            lanes: BTreeMap::new(),
            keys: BTreeMap::new(),
            archive,
        }
    }

    pub(super) fn position(&self) -> Position {
        Position::new(self.lineage.epoch, self.head)
    }

    /// The step that appends: as a whole, and atomically. `fresh` is the epoch that it opens if it
    /// has to; `sent` is when the batch left its node.
    pub(super) fn append(
        &mut self,
        append: Append,
        fresh: Epoch,
        sent: Instant,
        form: Form,
        (now, at): (LogTime, Duration),
    ) -> (Vec<Published>, Vec<Outgoing>) {
        self.sweep(now, at);
        let mut outgoing = Vec::new();
        let mut published = Vec::with_capacity(append.publications.len());
        for publication in append.publications {
            let done = self.accept(publication, fresh, sent, form, (now, at), &mut outgoing);
            published.push(done);
        }
        if let Some(known) = append.known
            && known.epoch != self.lineage.epoch
        {
            Arc::make_mut(&mut self.lineage).learn(known);
        }
        (published, outgoing)
    }

    fn accept(
        &mut self,
        new: Publication,
        fresh: Epoch,
        sent: Instant,
        form: Form,
        (now, at): (LogTime, Duration),
        outgoing: &mut Vec<Outgoing>,
    ) -> Published {
        let (size, max) = (new.envelope.data.len(), self.rules.max_payload);
        if size > max {
            return Published::Rejected(Rejection::TooLarge { size, max });
        }
        if self.retention.of(&new.envelope.topic).is_live() {
            outgoing.push(Outgoing::Live(LiveMessage { origin: new.key, envelope: new.envelope }));
            return Published::Live;
        }
        if let Some((seq, _)) = self.keys.get(&new.key) {
            return Published::Duplicate(Position::new(self.lineage.epoch, *seq));
        }
        let lane = new.envelope.lane();
        let print = new.envelope.fingerprint();
        let id = new.envelope.id.as_ref().map(ToString::to_string);
        if let Some(id) = &id
            && let Some((seq, there)) = self.lanes.get(&lane).and_then(|lane| lane.ids.get(id))
        {
            let position = Position::new(self.lineage.epoch, *seq);
            return match new.envelope.id {
                Some(id) if *there != print => {
                    Published::Rejected(Rejection::IdConflict { id, position })
                }
                _ => Published::Duplicate(position),
            };
        }
        if self.incarnation != self.recorded {
            self.recorded = self.incarnation;
            Arc::make_mut(&mut self.lineage).fork(fresh, self.head);
            self.archive.epochs.push(Opened { epoch: fresh, at: Some(self.head) });
        }
        self.head += 1;
        self.last = self.last.max(now);
        let (seq, appended) = (self.head, self.last);
        self.keys.insert(new.key, (seq, appended));
        let keep = self.retention.of(&lane.topic);
        let state = self.lanes.entry(lane.clone()).or_insert_with(|| LaneState::new(keep));
        state.kept.push_back((seq, appended));
        state.last = (seq, appended);
        state.ids.extend(id.map(|id| (id, (seq, print))));
        let record = new.into_record(sent);
        let bytes = version::encode(&record, form);
        let entry = Entry { position: self.position(), appended, record };
        let birth = Birth {
            position: entry.position,
            text: Arc::from(entry.envelope().data.as_str()),
            origin: entry.record.origin,
            expires: entry.expires(),
            at,
            removed: None,
            lost: None,
            newer: matches!(form, Form::Critical | Form::Reframed),
            lane: lane.clone(),
        };
        self.archive.births.push(birth);
        let birth = self.archive.births.len() - 1;
        let stored = Arc::new(Stored { seq, bytes, record: entry.record, appended, birth });
        self.entries.insert(seq, Arc::clone(&stored));
        self.trim(&lane, now, at);
        outgoing.push(Outgoing::Entry(stored));
        Published::Stored(entry.position)
    }

    fn trim(&mut self, lane: &Lane, now: LogTime, at: Duration) {
        let Some(state) = self.lanes.get_mut(lane) else { return };
        while state.is_over(now)
            && let Some((seq, _)) = state.kept.pop_front()
        {
            state.floor = seq;
            if let Some(stored) = self.entries.remove(&seq) {
                self.archive.births[stored.birth].removed = Some(at);
            }
        }
    }

    /// Removes what is too old, and forgets who has been silent for too long. Everything that looks
    /// at the log does this first.
    pub(super) fn sweep(&mut self, now: LogTime, at: Duration) {
        let due: Vec<Lane> = self
            .lanes
            .iter()
            .filter(|(_, state)| state.is_over(now))
            .map(|(lane, _)| lane.clone())
            .collect();
        for lane in due {
            self.trim(&lane, now, at);
        }
        let silence = self.rules.forget_after;
        self.lanes.retain(|_, state| {
            let silent = state.kept.is_empty() && state.last.1.after(silence) <= now;
            if silent {
                self.horizon = self.horizon.max(state.last.0);
            }
            !silent
        });
        let window = self.rules.dedup_window;
        self.keys.retain(|_, (_, at)| now < at.after(window));
    }

    /// Loses everything above `to`, and is another incarnation from now on. Returns what is lost.
    pub(super) fn restart(&mut self, to: u64, at: Duration) -> u64 {
        self.incarnation += 1;
        let lost = self.head - self.head.min(to);
        self.head = self.head.min(to);
        self.durable = self.durable.min(to);
        self.horizon = self.horizon.min(to);
        for (_, stored) in self.entries.split_off(&(to + 1)) {
            self.archive.births[stored.birth].lost = Some(at);
        }
        let epoch = self.lineage.epoch;
        for birth in &mut self.archive.births {
            if birth.position.epoch == epoch && birth.position.seq > to {
                birth.lost.get_or_insert(at);
            }
        }
        self.keys.retain(|_, (seq, _)| *seq <= to);
        self.lanes.retain(|_, state| {
            while state.kept.back().is_some_and(|(seq, _)| *seq > to) {
                state.kept.pop_back();
            }
            state.ids.retain(|_, (seq, _)| *seq <= to);
            // Which of the removed ones lie at or below `to` is not known any more.
            state.floor = state.floor.min(to);
            state.last.0 = state.last.0.min(to);
            state.floor > 0 || !state.kept.is_empty()
        });
        lost
    }

    /// Another log is there, of which nobody has heard.
    pub(super) fn replace(&mut self, epoch: Epoch, now: LogTime, at: Duration) {
        let mut archive = std::mem::take(&mut self.archive);
        for birth in &mut archive.births {
            birth.lost.get_or_insert(at);
        }
        let mut new = Self::new(self.rules.clone(), epoch, now);
        archive.epochs.push(Opened { epoch, at: None });
        new.archive = archive;
        *self = new;
    }

    pub(super) fn describe(&self, now: LogTime) -> Head {
        Head {
            position: self.position(),
            lineage: Arc::clone(&self.lineage),
            now,
            horizon: self.horizon,
            retention: Arc::clone(&self.retention),
            format: wire::WRITES,
        }
    }

    /// An entry as a node of either version gets it.
    pub(super) fn event(&self, stored: &Stored, newer: bool) -> FeedEvent {
        let position = Position::new(self.lineage.epoch, stored.seq);
        let record = if newer { Ok(stored.record.clone()) } else { version::decode(&stored.bytes) };
        match record {
            Ok(record) => {
                let entry = Entry { position, appended: stored.appended, record };
                FeedEvent::Entry(Arc::new(entry))
            }
            Err((error, lane)) => {
                let reason = Arc::from(error.to_string());
                FeedEvent::Undecodable { position, lane, reason }
            }
        }
    }

    pub(super) fn read(&self, query: &ReadQuery, newer: bool) -> Page {
        let mut to = query.to.min(self.head);
        let limit = query.limit.max(1);
        let (mut entries, mut undecodable, mut found) = (Vec::new(), Vec::new(), 0);
        if to > query.after {
            for (seq, stored) in self.entries.range(query.after + 1..=to) {
                if !query.wants(&stored.record.envelope.lane()) {
                    continue;
                }
                if found == limit {
                    to = seq - 1;
                    break;
                }
                found += 1;
                match self.event(stored, newer) {
                    FeedEvent::Entry(entry) => entries.push(entry),
                    FeedEvent::Undecodable { lane, .. } => undecodable.push((*seq, lane)),
                    _ => {}
                }
            }
        }
        let floors = self
            .lanes
            .iter()
            .filter(|(lane, state)| state.floor > query.after && query.wants(lane))
            .map(|(lane, state)| Floor { lane: lane.clone(), seq: state.floor });
        let most = if query.filters.is_none() { self.rules.most_floors } else { usize::MAX };
        let mut floors: Vec<Floor> = floors.collect();
        let floors_complete = floors.len() <= most;
        floors.truncate(most);
        Page {
            epoch: self.lineage.epoch,
            after: query.after,
            to,
            entries,
            undecodable,
            floors,
            floors_complete,
            horizon: self.horizon,
            head: self.head,
        }
    }

    pub(super) fn find(&self, lane: &Lane, id: &MessageId) -> Option<u64> {
        self.lanes.get(lane)?.ids.get(id.as_str()).map(|(seq, _)| *seq)
    }
}

impl LaneState {
    fn new(keep: Keep) -> Self {
        let (kept, ids) = (VecDeque::new(), BTreeMap::new());
        Self { keep, kept, floor: 0, last: (0, LogTime::default()), ids }
    }

    fn is_over(&self, now: LogTime) -> bool {
        let most = usize::try_from(self.keep.entries).unwrap_or(usize::MAX);
        let old =
            |(_, at): &(u64, LogTime)| !self.keep.age.is_zero() && at.after(self.keep.age) <= now;
        self.kept.len() > most || self.kept.front().is_some_and(old)
    }
}
