//! Health is proved by delivery: what the log has must come in on the feed, and in time.
//!
//! ```text
//!   probe            probe            probe
//!     │ head 7, fed 7  │ head 8, fed 7   │ head 9, fed 7, and nothing since: deaf
//!   ──┴────────────────┴─────────────────┴──►       (the log is asked twice in an interval)
//!                       owed from here on
//! ```
//!
//! A feed that brings something, however far behind, is *lagging*, and left alone. One that brings
//! nothing while the log goes on is *deaf*, and its link is built anew. Where nothing is published
//! there is nothing to be deaf to, and where a push was lost and nothing followed it there is no
//! telling: a canary then proves the way, one for all nodes. Pure: no I/O, and the time is given.

use std::time::Duration;

use tokio::time::Instant;

/// A feed has at least this long to bring what it owes, however often it is looked at.
const LEAST: Duration = Duration::from_millis(250);

/// What a probe came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The feed brings what the log has.
    Well,
    /// The same, but nothing came for a while: it need not be so any more.
    Quiet,
    /// The log has more than came; for less long than that it is proof of anything.
    Owing,
    /// The same for longer, but the log did not go on: it may be that one push was lost.
    Unproven,
    /// The log goes on, and nothing comes.
    Deaf,
}

/// What the feed brought, beside what it was to bring.
#[derive(Debug)]
pub(crate) struct Pulse {
    interval: Duration,
    /// Up to here the feed brought everything, or need not have.
    fed: u64,
    /// When it brought anything last.
    heard: Instant,
    /// Since when the log is known to have more, and how much, with nothing coming in.
    owing: Option<(Instant, u64)>,
    /// Whether a canary was sent of which nothing came yet.
    sung: bool,
    /// When the log is asked next.
    next: Instant,
    /// Since when it has not answered.
    asked: Option<Instant>,
}

impl Pulse {
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        let next = now + interval / 2;
        Self { interval, fed: 0, heard: now, owing: None, sung: false, next, asked: None }
    }

    /// The feed begins, or begins anew, above `seq`.
    pub(crate) fn begin(&mut self, seq: u64) {
        self.fed = seq;
        self.owing = None;
        self.sung = false;
    }

    /// The feed brought something: an entry or a skip up to `seq`, or a live message.
    pub(crate) fn heard(&mut self, seq: Option<u64>, now: Instant) {
        self.fed = self.fed.max(seq.unwrap_or(0));
        self.heard = now;
        self.owing = None;
        self.sung = false;
    }

    /// When the log is to be asked where it ends.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// The log is asked.
    pub(crate) fn asks(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
        self.next = now + self.interval / 2;
    }

    /// The log answers.
    pub(crate) fn answered(&mut self) {
        self.asked = None;
    }

    /// The log answered another: who asked meanwhile was still waiting for their turn then.
    pub(crate) fn answered_another(&mut self, at: Instant) {
        self.asked = self.asked.map(|asked| asked.max(at));
    }

    /// When the log has been silent for too long, should it not answer until then.
    pub(crate) fn silent_at(&self) -> Option<Instant> {
        self.asked.map(|asked| asked + self.interval.max(LEAST * 2))
    }

    /// The process itself stood still: what did not happen meanwhile says nothing.
    pub(crate) fn paused(&mut self, now: Instant) {
        self.asked = self.asked.map(|_| now);
        self.owing = self.owing.map(|(_, head)| (now, head));
    }

    /// Whether the moment that was waited for until `due` came so late that the process must have
    /// stood still.
    pub(crate) fn is_late(due: Instant, now: Instant) -> bool {
        now.saturating_duration_since(due) > LEAST
    }

    /// Holds the log's head against what came.
    pub(crate) fn judge(&mut self, head: u64, now: Instant) -> Verdict {
        let quiet = now.saturating_duration_since(self.heard);
        if head <= self.fed {
            self.owing = None;
            return if quiet < self.interval / 2 { Verdict::Well } else { Verdict::Quiet };
        }
        let (since, then) = *self.owing.get_or_insert((now, head));
        if now.saturating_duration_since(since) < (self.interval / 2).max(LEAST) {
            return Verdict::Owing;
        }
        if self.sung || head > then { Verdict::Deaf } else { Verdict::Unproven }
    }

    /// A canary is to be sent: when, so that others can go first. The log is asked soon after.
    pub(crate) fn canary_at(&mut self, now: Instant) -> Instant {
        self.next = self.next.min(now + self.interval / 4);
        now + (self.interval / 8).mul_f64(fastrand::f64())
    }

    /// It is sent: from here on it proves something.
    pub(crate) fn sings(&mut self) {
        self.owing = None;
        self.sung = true;
    }

    /// Whether anything came in the time in which a canary would not be sent.
    pub(crate) fn is_heard(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) < self.interval / 2
    }
}

#[cfg(test)]
mod tests;
