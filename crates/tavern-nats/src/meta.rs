//! What the log says of itself: which log it is, its epochs, its rules. One message in a stream of
//! its own, without an age, changed only by who has read the one before (`Nats-Expected-Last-
//! Subject-Sequence`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tavern_backend::{Epoch, Fork, Lineage, Retention};

use crate::failure::Failure;

/// The form of this message, of bodies and of subjects that this release reads and writes.
pub(crate) const SCHEMA: u32 = 1;
/// Samples that are kept.
pub(crate) const SAMPLES: usize = 32;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) schema: u32,
    /// The log's id, a part of its subjects.
    pub(crate) log: String,
    /// When the log's stream was created, in the server's words.
    pub(crate) created: String,
    epoch: String,
    forks: Vec<ForkText>,
    /// The log's incarnation: servers of the stream, by name, and the id each had. A server has
    /// another id each time it starts.
    pub(crate) servers: BTreeMap<String, String>,
    pub(crate) retention: Retention,
    /// The wire format in use.
    pub(crate) format: u8,
    /// Entries up to here may have been removed under rules that kept less.
    #[serde(default)]
    pub(crate) horizon: u64,
    /// Where the head was at some times (milliseconds on the log's clock), oldest first.
    #[serde(default)]
    pub(crate) samples: Vec<(i64, u64)>,
    /// What the log's stream keeps, as somebody saw it last.
    #[serde(default)]
    pub(crate) keeps: Option<Keeps>,
}

/// The limits of a stream; none where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keeps {
    /// Messages of a subject.
    pub(crate) per_subject: Option<u64>,
    pub(crate) age: Option<Duration>,
}

impl Keeps {
    /// What may be missing under these limits that was removed under older ones, and no limit tells
    /// any more, lies at or below this seq.
    pub(crate) fn hides(&self, older: &Self, first: u64, last: u64) -> u64 {
        if grew(older.per_subject, self.per_subject) {
            // From between others.
            last
        } else if grew(older.age, self.age) {
            first.saturating_sub(1)
        } else {
            0
        }
    }
}

fn grew<T: PartialOrd>(old: Option<T>, new: Option<T>) -> bool {
    old.is_some_and(|old| new.is_none_or(|new| new > old))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ForkText {
    parent: String,
    at: u64,
    lost_through: u64,
}

impl Meta {
    pub(crate) fn new(log: String, created: String, epoch: Epoch, retention: Retention) -> Self {
        Self {
            schema: SCHEMA,
            log,
            created,
            epoch: epoch.to_string(),
            forks: Vec::new(),
            servers: BTreeMap::new(),
            retention,
            format: tavern_backend::wire::WRITES,
            horizon: 0,
            samples: Vec::new(),
            keeps: None,
        }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Form {
            schema: u32,
        }
        let unreadable = |error: serde_json::Error| {
            Failure::lasting(format!(
                "what the log says of itself cannot be read ({error}): another program may use the \
                 namespace's subjects, or a newer release wrote it"
            ))
        };
        let Form { schema } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if schema != SCHEMA {
            return Err(Failure::lasting(format!(
                "the namespace was written in schema version {schema}, this release knows version \
                 {SCHEMA}; update this node, or give it another namespace"
            )));
        }
        serde_json::from_slice(bytes).map_err(unreadable)
    }

    pub(crate) fn lineage(&self) -> Result<Lineage, Failure> {
        let epoch = |text: &str| text.parse().map_err(|_| Failure::strange("the log's epochs"));
        let forks = self.forks.iter().map(|fork| {
            let ForkText { parent, at, lost_through } = fork;
            Ok(Fork { parent: epoch(parent)?, at: *at, lost_through: *lost_through })
        });
        Ok(Lineage { epoch: epoch(&self.epoch)?, forks: forks.collect::<Result<_, Failure>>()? })
    }

    pub(crate) fn set_lineage(&mut self, lineage: &Lineage) {
        self.epoch = lineage.epoch.to_string();
        self.forks = lineage
            .forks
            .iter()
            .map(|Fork { parent, at, lost_through }| ForkText {
                parent: parent.to_string(),
                at: *at,
                lost_through: *lost_through,
            })
            .collect();
    }

    /// Whether a majority of the stream's servers runs since this was written. While it does,
    /// nothing that was acknowledged can be lost.
    pub(crate) fn is_of(&self, servers: &BTreeMap<String, Option<String>>) -> bool {
        let same = servers
            .iter()
            .filter(|(name, id)| id.as_ref().is_some_and(|id| self.servers.get(*name) == Some(id)));
        // Before the first append there is nothing to lose.
        self.servers.is_empty() || same.count() * 2 > servers.len()
    }

    /// Whether so many of the stream's servers are known to have started anew since this was written
    /// that it may not be the same log. Of one that cannot be asked nothing is known.
    pub(crate) fn has_changed(&self, servers: &BTreeMap<String, Option<String>>) -> bool {
        let presumed = servers.iter().map(|(name, id)| {
            (name.clone(), id.as_ref().or_else(|| self.servers.get(name)).cloned())
        });
        !self.is_of(&presumed.collect())
    }

    /// Notes which servers there are. Returns whether that changed anything.
    pub(crate) fn note_servers(&mut self, servers: &BTreeMap<String, Option<String>>) -> bool {
        let mut noted = BTreeMap::new();
        for (name, id) in servers {
            // Of a server that cannot be asked now, what was known stays.
            if let Some(id) = id.as_ref().or_else(|| self.servers.get(name)) {
                noted.insert(name.clone(), id.clone());
            }
        }
        let changed = noted != self.servers;
        self.servers = noted;
        changed
    }

    /// Notes where the head is, unless that was noted lately.
    pub(crate) fn sample(&mut self, now: i64, head: u64, interval: i64) -> bool {
        if self.samples.last().is_some_and(|(time, _)| *time > now - interval && *time <= now) {
            return false;
        }
        self.samples.retain(|(time, seq)| *time < now && *seq <= head);
        self.samples.push((now, head));
        let excess = self.samples.len().saturating_sub(SAMPLES);
        self.samples.drain(..excess);
        true
    }

    /// Notes what the stream keeps. Where that grew, what it had removed by then is told of for ever.
    pub(crate) fn note_keeps(&mut self, now: Keeps, first: u64, last: u64) -> bool {
        let Some(older) = self.keeps.replace(now) else { return true };
        self.horizon = self.horizon.max(now.hides(&older, first, last));
        older != now
    }

    /// A seq above which nothing was appended at `time` or before.
    pub(crate) fn head_at(&self, time: i64) -> Option<u64> {
        self.samples.iter().find(|(at, _)| *at >= time).map(|(_, seq)| *seq)
    }
}

#[cfg(test)]
mod tests;
