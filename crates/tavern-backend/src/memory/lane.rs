//! One lane of the log: what is kept of it, its floor, and the ids its publishers gave.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::{Keep, LogTime, MessageEnvelope, MessageId};

#[derive(Debug)]
pub(super) struct LaneState {
    /// Tells it from other lanes where seqs and times are equal.
    pub(super) number: u64,
    pub(super) keep: Keep,
    /// The entries kept, with the time they were appended.
    pub(super) kept: VecDeque<(u64, LogTime)>,
    /// The last seq removed; 0 if none was.
    pub(super) floor: u64,
    /// The last seq ever, and when it was appended.
    pub(super) last: (u64, LogTime),
    ids: HashMap<MessageId, (u64, Print)>,
    /// The ids by age, for forgetting them.
    given: VecDeque<(u64, LogTime, MessageId)>,
}

impl LaneState {
    pub(super) fn new(number: u64, keep: Keep) -> Self {
        Self {
            number,
            keep,
            kept: VecDeque::new(),
            floor: 0,
            last: (0, LogTime::default()),
            ids: HashMap::new(),
            given: VecDeque::new(),
        }
    }

    /// The seq that `id` was given to, and the message's print.
    pub(super) fn id(&self, id: &MessageId) -> Option<(u64, Print)> {
        self.ids.get(id).copied()
    }

    pub(super) fn push(&mut self, seq: u64, now: LogTime, id: Option<(&MessageId, Print)>) {
        self.kept.push_back((seq, now));
        self.last = (seq, now);
        if let Some((id, print)) = id {
            self.ids.insert(id.clone(), (seq, print));
            self.given.push_back((seq, now, id.clone()));
        }
    }

    /// Removes the oldest entry.
    pub(super) fn trim(&mut self) -> Option<u64> {
        let (seq, _) = self.kept.pop_front()?;
        self.floor = seq;
        Some(seq)
    }

    /// Whether the rule leaves no room for the oldest entry.
    pub(super) fn is_over(&self, now: LogTime) -> bool {
        let most = usize::try_from(self.keep.entries).unwrap_or(usize::MAX);
        self.kept.len() > most || self.due().is_some_and(|(due, _)| due <= now)
    }

    /// When the oldest entry is removed by age, and its seq.
    pub(super) fn due(&self) -> Option<(LogTime, u64)> {
        let (seq, appended) = *self.kept.front()?;
        (!self.keep.age.is_zero()).then(|| (appended.after(self.keep.age), seq))
    }

    /// Forgets ids that were given longer than `window` ago to entries that are gone.
    pub(super) fn forget_ids(&mut self, window: Duration, now: LogTime) {
        while let Some((seq, at, _)) = self.given.front()
            && *seq <= self.floor
            && at.after(window) <= now
        {
            if let Some((_, _, id)) = self.given.pop_front() {
                self.ids.remove(&id);
            }
        }
    }

    /// Forgets what was appended above `to`.
    pub(super) fn rewind(&mut self, to: u64) {
        while self.kept.back().is_some_and(|(seq, _)| *seq > to) {
            self.kept.pop_back();
        }
        while self.given.back().is_some_and(|(seq, ..)| *seq > to) {
            if let Some((_, _, id)) = self.given.pop_back() {
                self.ids.remove(&id);
            }
        }
        // Which of the removed entries lie at or below `to` is not known any more.
        self.floor = self.floor.min(to);
        self.last.0 = self.last.0.min(to);
    }
}

/// What tells two messages apart that were given the same id, also when the first is gone.
pub(super) type Print = [u64; 2];

/// Makes [`Print`]s: two keyed hashes, so that nobody can look for messages that collide.
#[derive(Debug, Default)]
pub(super) struct Printer([RandomState; 2]);

impl Printer {
    pub(super) fn print(&self, envelope: &MessageEnvelope) -> Print {
        [0, 1].map(|i| self.0[i].hash_one((&envelope.data, &envelope.event)))
    }
}
