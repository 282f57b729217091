//! A publication in the queue.

use tavern_backend::{Cursor, Lane, Publication};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::counters::Tallies;
use crate::error::{Error, Result};
use crate::outcome::{Outcome, Settled, Ticket};

/// A publication that is not settled, and who waits for that.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) publication: Publication,
    pub(super) live: bool,
    /// It is tried until then.
    pub(super) until: Instant,
    /// An attempt's answer was lost.
    pub(super) maybe_stored: bool,
    reply: Option<oneshot::Sender<Result<Outcome>>>,
    ticket: Option<watch::Sender<Option<Settled>>>,
}

impl Pending {
    pub(super) fn new(
        publication: Publication,
        live: bool,
        until: Instant,
        reply: oneshot::Sender<Result<Outcome>>,
    ) -> Self {
        Self { publication, live, until, maybe_stored: false, reply: Some(reply), ticket: None }
    }

    pub(super) fn accepted(&self) -> Instant {
        self.publication.accepted
    }

    pub(super) fn bytes(&self) -> usize {
        self.publication.envelope.data.len()
    }

    pub(super) fn lane(&self) -> Lane {
        self.publication.envelope.lane()
    }

    /// Whether its publisher still waits for an answer.
    pub(super) fn waits_for_answer(&self) -> bool {
        self.reply.is_some()
    }

    /// Answers the publisher, if it still waits: the message is kept and tried; or it is live, and
    /// what becomes of it elsewhere is not told.
    pub(super) fn answer(&mut self, tallies: &Tallies) {
        let Some(reply) = self.reply.take() else { return };
        if self.live {
            tallies.published_live.one();
            drop(reply.send(Ok(Outcome::Live)));
            return;
        }
        let (settle, settled) = watch::channel(None);
        tallies.spooled.one();
        let ticket = Ticket { until: self.until, settled };
        self.ticket = Some(settle);
        // Who no longer waits does not need to know: the message is kept all the same.
        drop(reply.send(Ok(Outcome::Spooled(ticket))));
    }

    /// It is in the log.
    pub(super) fn stored(self, cursor: Cursor, tallies: &Tallies) {
        tallies.published_stored.one();
        self.settle(Ok(Outcome::Stored(cursor)), Settled::Stored(cursor));
    }

    /// The log had it: from an earlier attempt of ours, or from somebody else under the same id.
    pub(super) fn duplicate(self, cursor: Cursor, tallies: &Tallies) {
        if self.maybe_stored && self.publication.envelope.id.is_none() {
            return self.stored(cursor, tallies);
        }
        tallies.published_duplicate.one();
        self.settle(Ok(Outcome::Duplicate(cursor)), Settled::Duplicate(cursor));
    }

    /// It went to the other nodes, at most once.
    pub(super) fn live(self, tallies: &Tallies) {
        if self.reply.is_some() || !self.live {
            tallies.published_live.one();
        }
        let reason = "the topic is live".to_owned();
        let settled = Settled::Discarded { reason, maybe_stored: false };
        self.settle(Ok(Outcome::Live), settled);
    }

    /// It will not be tried any more.
    pub(super) fn refused(self, error: Error, tallies: &Tallies) {
        tallies.published_rejected.one();
        let (reason, maybe_stored) = (error.to_string(), self.maybe_stored);
        self.settle(Err(error), Settled::Discarded { reason, maybe_stored });
    }

    fn settle(self, outcome: Result<Outcome>, settled: Settled) {
        // Whoever dropped the receiving end chose not to know.
        if let Some(reply) = self.reply {
            drop(reply.send(outcome));
        }
        if let Some(ticket) = self.ticket {
            ticket.send_replace(Some(settled));
        }
    }

    /// Whether somebody was promised that it would be tried.
    pub(super) fn is_promised(&self) -> bool {
        self.ticket.is_some()
    }
}
