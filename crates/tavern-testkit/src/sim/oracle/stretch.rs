//! One connection of a client, and the gaps it was told of.

use std::collections::BTreeSet;
use std::time::Duration;

use tavern_backend::{Topic, TopicFilter};
use tavern_broker::GapReason;

use crate::sim::archive::Birth;
use crate::sim::client::Recorded;

/// What came since a client connected.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    pub(super) began: Duration,
    pub(super) resumed: bool,
    /// Its replay has ended.
    ended: bool,
    pub(super) messages: u64,
    /// Entries that are missing and excused.
    pub(super) missing: u64,
    /// What was said to be left out, less what was found missing.
    pub(super) dropped: u64,
    gaps: u64,
    slow: bool,
    /// A gap `epoch` was told since the last position: it may go back.
    pub(super) told_epoch: bool,
}

impl Stretch {
    pub(super) fn new(began: Duration, resumed: bool) -> Self {
        Self { began, resumed, ..Self::default() }
    }

    pub(super) fn gap(&mut self, reason: GapReason) {
        self.told_epoch |= reason == GapReason::Epoch;
        // Completeness speaks of what can be complete.
        self.gaps += u64::from(!matches!(reason, GapReason::Live | GapReason::Slow));
        self.slow |= reason == GapReason::Slow;
    }

    /// The replay ends; says what is wrong with what is said of it.
    pub(super) fn end(
        &mut self,
        (delivered, dropped, complete): (u64, u64, bool),
    ) -> Option<String> {
        if std::mem::replace(&mut self.ended, true) || !self.resumed {
            return Some("a replay ends that had ended, or had not begun".to_owned());
        }
        if delivered != self.messages {
            return Some(format!("{} came, {delivered} are said to", self.messages));
        }
        let whole = self.gaps == 0 && self.missing == 0 && dropped == 0;
        if complete && !whole {
            return Some("it is said to be complete, and is not".to_owned());
        }
        // A gap `slow` may be of live messages, or not: it is not counted.
        (!complete && whole && !self.slow)
            .then(|| "it is said not to be complete, and is".to_owned())
    }
}

/// A gap that a client was told of.
#[derive(Debug)]
pub(super) struct ToldGap {
    pub(super) reason: GapReason,
    topics: Vec<TopicFilter>,
    pub(super) at: Duration,
    pub(super) link: usize,
    /// Whether it can still excuse something.
    pub(super) open: bool,
    /// Whether it did.
    pub(super) used: bool,
    /// Topics of which something came since: what is missing behind that, it does not cover.
    pub(super) closed: BTreeSet<Topic>,
}

impl ToldGap {
    pub(super) fn new(reason: GapReason, topics: Vec<TopicFilter>, recorded: &Recorded) -> Self {
        let (at, link) = (recorded.at, recorded.link);
        Self { reason, topics, at, link, open: true, used: false, closed: BTreeSet::new() }
    }

    /// Whether it speaks of this entry: of its topic, and of what there was when it was told. It may
    /// stand before messages that are older than what is missing.
    pub(super) fn covers(&self, birth: &Birth) -> bool {
        self.open && birth.at <= self.at && self.names(&birth.lane.topic)
    }

    pub(super) fn names(&self, topic: &Topic) -> bool {
        self.topics.iter().any(|filter| filter.matches(topic))
    }
}
