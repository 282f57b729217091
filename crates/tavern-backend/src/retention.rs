//! How much of each lane the log keeps.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Topic, TopicFilter};

/// How much is kept of every lane of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// Entries kept per lane; 0 makes the topic *live*: it skips the log.
    pub entries: u32,
    /// Age in milliseconds after which an entry counts as removed, stored or not; 0 is no limit.
    #[serde(rename = "age_ms", with = "millis")]
    pub age: Duration,
}

impl Keep {
    /// `entries` per lane, none older than `age` (zero: no limit).
    #[must_use]
    pub const fn new(entries: u32, age: Duration) -> Self {
        Self { entries, age }
    }

    /// Nothing is kept: messages go to who listens now, at most once, and nobody can resume.
    #[must_use]
    pub const fn live() -> Self {
        Self::new(0, Duration::ZERO)
    }

    /// Whether topics under this rule skip the log.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.entries == 0
    }
}

impl Default for Keep {
    /// 256 entries and 5 minutes per lane.
    fn default() -> Self {
        Self::new(256, Duration::from_secs(300))
    }
}

/// A rule: what is kept of the topics that a filter matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The topics it speaks of.
    pub topics: TopicFilter,
    /// What is kept of them.
    #[serde(flatten)]
    pub keep: Keep,
}

/// The retention rules of a namespace; they live in the log's own metadata.
///
/// The first rule that matches a topic decides; [`Retention::default`](Self#structfield.default)
/// stands behind them all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Raised by each change of the rules; two nodes that disagree follow the log's.
    #[serde(default)]
    pub version: u64,
    /// The rules, first match first.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// What is kept where no rule matches.
    #[serde(default)]
    pub default: Keep,
}

impl Retention {
    /// Rules with another default.
    #[must_use]
    pub fn with_default(mut self, keep: Keep) -> Self {
        self.default = keep;
        self
    }

    /// Adds a rule behind those that are there.
    #[must_use]
    pub fn with_rule(mut self, topics: TopicFilter, keep: Keep) -> Self {
        self.rules.push(Rule { topics, keep });
        self
    }

    /// What is kept of each lane of `topic`.
    #[must_use]
    pub fn of(&self, topic: &Topic) -> Keep {
        self.rules.iter().find(|rule| rule.topics.matches(topic)).map_or(self.default, |r| r.keep)
    }

    /// What a node says that is configured with these rules, where the log has others: both in
    /// words, and how to replace them.
    #[must_use]
    pub fn explain_mismatch(&self, log: &Self) -> String {
        format!(
            "this node is configured to keep {self}; the log keeps {log}, and the log's rules are \
             followed; to replace them on purpose, for all nodes, start one node with \
             `apply_retention = true`"
        )
    }

    /// Whether the rules are the same, whatever their version.
    #[must_use]
    pub fn same_rules(&self, other: &Self) -> bool {
        self.rules == other.rules && self.default == other.default
    }
}

/// The rules in words, behind "it keeps".
impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in &self.rules {
            write!(f, "{} of `{}`, ", rule.keep, rule.topics)?;
        }
        let rest = if self.rules.is_empty() { "every topic" } else { "the rest" };
        write!(f, "{} of {rest}", self.default)
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.entries, self.age) {
            (0, _) => f.write_str("nothing"),
            (entries, age) if age.is_zero() => write!(f, "{entries} messages of any age"),
            (entries, age) => write!(f, "{entries} messages of at most {age:?}"),
        }
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(age: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests;
