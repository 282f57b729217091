//! What one client was told, in its order.

use std::collections::{BTreeMap, BTreeSet};

use tavern_backend::{Topic, TopicFilter};
use tokio::time::Instant;

use super::seq_of;
use crate::recorder::Event;

/// What one client was told, over all of its connections.
#[derive(Debug)]
pub struct Record {
    pub(super) filters: Vec<TopicFilter>,
    pub(super) scope: Option<String>,
    /// Where it began.
    pub(super) start: Option<u64>,
    pub(super) last: u64,
    pub(super) told: Vec<Told>,
    /// Publications with a TTL, and when they came.
    pub(super) timed: Vec<(u64, Instant)>,
    /// Topics whose last publication came.
    ends: BTreeSet<String>,
    notices: BTreeMap<String, u64>,
    /// Whether the log is said to have begun anew further back.
    rewound: bool,
}

#[derive(Debug)]
pub(super) enum Told {
    Message { seq: u64, number: u64 },
    Gap { reason: String, topics: Vec<TopicFilter> },
}

impl Record {
    /// A client of these filters and this scope.
    #[must_use]
    pub fn new(filters: Vec<TopicFilter>, scope: Option<String>) -> Self {
        Self {
            filters,
            scope,
            start: None,
            last: 0,
            told: Vec::new(),
            timed: Vec::new(),
            ends: BTreeSet::new(),
            notices: BTreeMap::new(),
            rewound: false,
        }
    }

    /// Whether a publication is for this client.
    #[must_use]
    pub fn wants(&self, topic: &Topic, scope: Option<&str>) -> bool {
        self.scope.as_deref() == scope && self.filters.iter().any(|f| f.matches(topic))
    }

    /// Whether its opening cursor came.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.start.is_some()
    }

    /// Of how many topics the last publication came.
    #[must_use]
    pub fn ends(&self) -> usize {
        self.ends.len()
    }

    /// Messages received.
    #[must_use]
    pub fn received(&self) -> usize {
        self.told.iter().filter(|told| matches!(told, Told::Message { .. })).count()
    }

    /// How often it was told so: `tavern-degraded`, `tavern-recovered` and the others.
    #[must_use]
    pub fn notices(&self, name: &str) -> u64 {
        self.notices.get(name).copied().unwrap_or(0)
    }

    /// Takes the next event.
    ///
    /// # Errors
    ///
    /// What is wrong with it, where it comes.
    pub fn take(&mut self, event: &Event, now: Instant) -> Result<(), String> {
        let seq = event.id.as_deref().and_then(seq_of);
        if event.name.starts_with("tavern-") {
            *self.notices.entry(event.name.clone()).or_default() += 1;
            if event.name == "tavern-replay-gap" {
                let gap = gap(&event.data).ok_or_else(|| format!("what gap? {event:?}"))?;
                self.rewound |= matches!(&gap, Told::Gap { reason, .. } if reason == "epoch");
                self.told.push(gap);
            } else if self.start.is_none() {
                self.start = seq;
                self.last = seq.unwrap_or(0);
            }
            return Ok(());
        }
        let wrong = |what: &str| Err(format!("{what}: {event:?}"));
        let words = event.data.split(' ').collect::<Vec<_>>();
        let &[number, topic, scope, kind, ..] = words.as_slice() else {
            return wrong("nobody published this");
        };
        let (Ok(number), Ok(topic)) = (number.parse(), Topic::new(topic)) else {
            return wrong("nobody published this");
        };
        if !self.wants(&topic, (scope != "-").then_some(scope)) {
            return wrong("not for this client");
        }
        let Some(seq) = seq else { return wrong("a message without a cursor") };
        if seq <= self.last && !self.rewound {
            return wrong(&format!("again or out of order behind seq {}", self.last));
        }
        self.rewound = false;
        self.last = seq;
        self.told.push(Told::Message { seq, number });
        match kind {
            "last" => drop(self.ends.insert(topic.to_string())),
            "ttl" => self.timed.push((number, now)),
            _ => {}
        }
        Ok(())
    }
}

fn gap(data: &str) -> Option<Told> {
    let data: serde_json::Value = serde_json::from_str(data).ok()?;
    let reason = data["reason"].as_str()?.to_owned();
    let topics = data["topics"].as_array()?.iter();
    let topics =
        topics.map(|topic| TopicFilter::new(topic.as_str()?).ok()).collect::<Option<_>>()?;
    Some(Told::Gap { reason, topics })
}
