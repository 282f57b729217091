//! Telling a stream of messages that were promised and given up.
//!
//! They have no place in the log. Who follows is told at once; who catches up, once it has; who
//! resumes from where the log stood then, or from before, at its beginning.

use tavern_backend::Lane;

use super::catch_up::Trip;
use super::{State, Subscription, Wish};
use crate::delivery::{Delivery, GapReason};
use crate::ring::Discarded;

impl Wish {
    /// The topics of what was given up.
    fn topics_discarded(&self, discarded: &Discarded) -> Vec<String> {
        match discarded {
            Discarded::Lanes(lanes) => self.topics_of(Some(lanes)),
            Discarded::Unknown => self.all_topics(),
        }
    }
}

impl Trip {
    /// The topics of what was given up where the log stood at `seq` or later, before this stream
    /// began.
    pub(super) fn discarded(&self, seq: u64) -> Option<Vec<String>> {
        let wants = |lane: &Lane| self.wish.wants(lane);
        let discarded = self.wish.node.ring.discarded(wants, seq, ..self.since)?;
        Some(self.wish.topics_discarded(&discarded))
    }
}

impl Subscription {
    /// A message of `lane` was given up while this stream was away.
    pub(super) fn missed(&mut self, lane: &Lane) {
        if self.wish.wants(lane) {
            self.missed.extend(self.wish.topics_of(Some(std::slice::from_ref(lane))));
        }
    }

    /// The markers from where it stands up to offset `base` are gone, unread.
    pub(super) fn missed_up_to(&mut self, base: u64) {
        let from = self.at.max(self.live_from);
        let wants = |lane: &Lane| self.wish.wants(lane);
        if let Some(discarded) = self.wish.node.ring.discarded(wants, 0, from..base) {
            self.missed.extend(self.wish.topics_discarded(&discarded));
        }
    }

    /// Back in the ring: tells what was given up meanwhile.
    pub(super) fn tell_missed(&mut self, out: &mut Vec<Delivery>) {
        if self.missed.is_empty() || !matches!(self.state, State::Live) {
            return;
        }
        let mut topics = std::mem::take(&mut self.missed);
        topics.sort_unstable();
        topics.dedup();
        let (at, last) = (self.at, self.last_id());
        // Whether it is away again for that, its state says.
        let _ = self.meet(GapReason::Outage, last, topics, at, out);
    }
}
