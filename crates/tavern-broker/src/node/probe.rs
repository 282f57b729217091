//! Asking the log where it ends, and what it means if the feed does not bring that.

use std::sync::Arc;

use futures_util::FutureExt;
use tavern_backend::{Append, FeedEvent, Head, Health, MessageEnvelope, Publication};
use tokio::time::Instant;

use super::Reader;
use super::pulse::{Pulse, Verdict};
use crate::marker::Marker;
use crate::ring::Arrival;
use crate::shared::canary_topic;

/// What is wrong with a backend whose link is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The log does not answer.
    Silent,
    /// The log has what the feed does not bring.
    Deaf,
}

impl Doubt {
    fn reason(self) -> &'static str {
        match self {
            Self::Silent => "the log does not answer",
            Self::Deaf => "the feed is deaf: the log goes on, and nothing of it arrives",
        }
    }
}

impl Reader {
    /// Asks for the log's head, without waiting for the answer.
    pub(super) fn probe(&mut self) {
        let now = Instant::now();
        if Pulse::is_late(self.pulse.next(), now) {
            self.pulse.paused(now);
        }
        self.pulse.asks(now);
        self.probing = Some(self.ask_head().boxed());
    }

    /// Compares the log's head with what the feed brought: what the log had at the last probe and
    /// the feed has not brought by now was lost.
    pub(super) async fn probed(&mut self, head: Option<Arc<Head>>) {
        let Some(head) = head else { return };
        self.pulse.answered();
        if self.doubt == Some(Doubt::Silent) {
            self.believe(None);
        }
        // What lies here already has come.
        if !self.pulse.is_heard(Instant::now())
            && let Some(Some(batch)) = self.feed.recv().now_or_never()
        {
            self.take_in(batch).await;
        }
        if head.position.epoch == self.epoch {
            self.sequencer.reach(self.probed.min(head.position.seq));
            self.probed = head.position.seq;
            self.judge(head.position.seq);
        } else {
            self.follow(&head, None);
        }
        self.node.learn(head);
    }

    fn judge(&mut self, head: u64) {
        if !self.health.get().up {
            return;
        }
        match self.pulse.judge(head, Instant::now()) {
            Verdict::Well | Verdict::Owing => {}
            Verdict::Quiet => {
                self.plan_canary(self.doubt == Some(Doubt::Deaf));
            }
            Verdict::Unproven => {
                if !self.plan_canary(true) {
                    // There will be no proof; what did not come is read in any case.
                    self.pulse.begin(head);
                }
            }
            Verdict::Deaf => {
                self.believe(Some(Doubt::Deaf));
                self.node.tallies.deaf.one();
                self.node.bus.rebuild(Doubt::Deaf.reason());
                // What did not come will not come: it was read. A canary tells whether the next will.
                self.pulse.begin(head);
            }
        }
    }

    /// Sends a canary soon, unless there is no need or use. Returns whether one is on its way.
    fn plan_canary(&mut self, needed: bool) -> bool {
        let there = self.canary.is_some() || self.canary_at.is_some();
        if !there && self.node.wants_canary(needed) {
            self.canary_at = Some(self.pulse.canary_at(Instant::now()));
        }
        there || self.canary_at.is_some()
    }

    /// Notes that the feed brought something.
    pub(super) fn listen(&mut self, event: &FeedEvent) {
        let seq = match event {
            FeedEvent::Entry(entry) => Some(entry.position.seq),
            FeedEvent::Undecodable { position, .. } => Some(position.seq),
            FeedEvent::Skip { to, .. } => Some(*to),
            FeedEvent::Live(_) => None,
            FeedEvent::LinkRestored { head } => return self.pulse.begin(head.seq),
            _ => return,
        };
        self.pulse.heard(seq, Instant::now());
        self.canary_at = None;
        if self.doubt == Some(Doubt::Deaf) {
            self.believe(None);
        }
    }

    /// When the log has been silent for too long.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let silent = self.pulse.silent_at()?;
        (self.down_since.is_none() && self.health.get().up).then_some(silent)
    }

    /// The log does not say where it ends. The link is the backend's: it may only be slow.
    pub(super) fn silent(&mut self) {
        let now = Instant::now();
        if self.pulse.silent_at().is_some_and(|due| Pulse::is_late(due, now)) {
            return self.pulse.paused(now);
        }
        if let Some(at) = self.node.heads.answered() {
            self.pulse.answered_another(at);
            if self.pulse.silent_at().is_some_and(|due| now < due) {
                return;
            }
        }
        if self.doubt.is_none() {
            self.believe(Some(Doubt::Silent));
        }
    }

    /// The link is up: it does not deliver, or does again.
    fn believe(&mut self, doubt: Option<Doubt>) {
        self.doubt = doubt;
        let reason = doubt.map(Doubt::reason);
        self.node.doubt(reason);
        if let Some(reason) = reason {
            tracing::warn!(reason, "the backend does not deliver");
        }
        self.changed(doubt.is_none() && self.health.get().up, Instant::now());
    }

    pub(super) fn note_health(&mut self) {
        let health = self.health.get();
        self.link_changed(&health);
    }

    /// The link went, or came back, and begins anew.
    pub(super) fn link_changed(&mut self, health: &Health) {
        self.doubt = None;
        self.node.doubt(None);
        self.canary_at = None;
        self.pulse.answered();
        self.pulse.begin(self.sequencer.target());
        self.changed(health.up, health.since);
    }

    fn changed(&mut self, up: bool, since: Instant) {
        match (up, self.down_since) {
            (false, None) => {
                self.down_since = Some(since);
                self.node.ring.append([Arrival::Marker(Marker::Degraded { since })]);
            }
            (true, Some(down)) => {
                self.down_since = None;
                let after = down.elapsed();
                self.node.ring.append([Arrival::Marker(Marker::Recovered { after })]);
            }
            _ => {}
        }
    }

    /// Appends something that every node's feed must bring.
    pub(super) fn send_canary(&mut self) {
        self.canary_at = None;
        let Some(topic) = canary_topic().filter(|_| !self.pulse.is_heard(Instant::now())) else {
            return;
        };
        let bus = self.node.bus.clone();
        let (key, accepted) = (bus.next_key(), Instant::now());
        let publications =
            vec![Publication { key, envelope: MessageEnvelope::new(topic, ""), accepted }];
        let patience = self.node.config.repair_patience;
        self.node.tallies.canaries.one();
        self.pulse.sings();
        let append = async move {
            // Whatever comes of it: the log says by its head whether it has it.
            let append = bus.append(Append { known: None, publications });
            drop(tokio::time::timeout(patience, append).await);
        };
        self.canary = Some(append.boxed());
    }
}
