//! What becomes of a batch, and of what waits too long.

use std::sync::Arc;

use tavern_backend::{Cursor, Place, Position, Published};
use tokio::time::Instant;

use super::Publisher;
use super::pending::Pending;
use crate::delivery::GapReason;
use crate::error::Error;
use crate::frame::Frame;
use crate::marker::Marker;
use crate::ring::Arrival;

impl Publisher {
    /// A batch came back from the backend.
    pub(super) fn land(
        &mut self,
        batch: Vec<Pending>,
        landed: tavern_backend::Result<Vec<Published>>,
    ) {
        match landed {
            Ok(published) if published.len() == batch.len() => {
                self.backoff.reset();
                self.singly = self.singly.saturating_sub(1);
                for (pending, published) in batch.into_iter().zip(published) {
                    self.settle(pending, published);
                }
            }
            Ok(_) => {
                let error = "the backend answered for another number of messages";
                self.failed(batch, &tavern_backend::Error::outcome_unknown(error));
            }
            Err(error) if error.is_transient() => self.failed(batch, &error),
            Err(tavern_backend::Error::Closed) => {
                for pending in batch.into_iter().chain(self.queue.drain(..)) {
                    pending.refused(Error::Closed, &self.node.tallies);
                }
                self.queued_bytes = 0;
            }
            Err(error) => match <[Pending; 1]>::try_from(batch) {
                Ok([pending]) => {
                    self.singly = self.singly.saturating_sub(1);
                    self.refuse(pending, error.into());
                }
                Err(batch) => {
                    // One of them is to blame; the others shall not suffer for it.
                    self.singly = batch.len();
                    self.put_back(batch);
                }
            },
        }
    }

    fn settle(&mut self, pending: Pending, published: Published) {
        if let Published::Stored(position) | Published::Duplicate(position) = published {
            self.heard(position, &pending);
        }
        let tallies = &self.node.tallies;
        match published {
            Published::Stored(position) => pending.stored(Cursor(position), tallies),
            Published::Duplicate(position) => pending.duplicate(Cursor(position), tallies),
            Published::Live => {
                if !pending.live {
                    // When it was accepted nobody knew that its topic is live.
                    self.deliver_here(&pending);
                }
                pending.live(&self.node.tallies);
            }
            Published::Rejected(rejection) => {
                let error = match tavern_backend::Error::from(rejection) {
                    tavern_backend::Error::Invalid(invalid) if invalid.what() == "id" => {
                        Error::IdConflict(invalid.reason().to_owned())
                    }
                    other => other.into(),
                };
                self.refuse(pending, error);
            }
            _ => {
                let unknown =
                    tavern_backend::Error::outcome_unknown("the answer is not understood");
                self.refuse(pending, Error::Backend(unknown));
            }
        }
    }

    /// The log has it at `position`; or had it, if the answer comes when the log has been cut back
    /// to below that, and this node has followed: then nobody has been told.
    fn heard(&self, position: Position, pending: &Pending) {
        self.node.extent.heard(position);
        let Some(head) = self.node.known().filter(|h| h.position.epoch != position.epoch) else {
            return;
        };
        if matches!(head.lineage.locate(position, u64::MAX), Place::Beyond { .. }) {
            let lanes = Some(vec![pending.lane()]);
            let gap = Marker::Gap { reason: GapReason::Epoch, lanes };
            self.node.ring.append([Arrival::Marker(gap)]);
            self.node.tell_loss(position);
        }
    }

    /// Gives a publication up; if that breaks a promise, says so to the subscribers too.
    fn refuse(&mut self, pending: Pending, error: Error) {
        if pending.is_promised() {
            tracing::error!(topic = %pending.lane().topic, %error, "a spooled message is discarded");
            self.node.tallies.spool_discarded.one();
            let discarded = Marker::Discarded { lane: pending.lane() };
            self.node.ring.append([Arrival::Marker(discarded)]);
        }
        pending.refused(error, &self.node.tallies);
    }

    fn failed(&mut self, batch: Vec<Pending>, error: &tavern_backend::Error) {
        tracing::warn!(%error, messages = batch.len(), "messages could not be published yet");
        let unknown = matches!(error, tavern_backend::Error::OutcomeUnknown { .. });
        let mut kept = Vec::with_capacity(batch.len());
        for mut pending in batch {
            if pending.live {
                self.drop_live(pending);
                continue;
            }
            pending.maybe_stored |= unknown;
            kept.push(pending);
        }
        self.put_back(kept);
        self.retry_at = Some(Instant::now() + self.backoff.next());
        if self.is_stalled() {
            self.answer_all();
        }
    }

    /// Other nodes get live messages at most once, and not this one; local subscribers have it.
    pub(super) fn drop_live(&self, pending: Pending) {
        self.node.tallies.live_unsent.one();
        pending.live(&self.node.tallies);
    }

    pub(super) fn deliver_here(&self, pending: &Pending) {
        let envelope = pending.publication.envelope.clone();
        let left = envelope.ttl.map(|ttl| ttl.saturating_sub(pending.accepted().elapsed()));
        let expires = left.map(|left| self.node.clock.now().after(left));
        self.node.ring.append([Arrival::Live(Arc::new(Frame::live(envelope, expires)))]);
    }

    /// Puts a batch back where it was: nothing overtakes it.
    fn put_back(&mut self, batch: Vec<Pending>) {
        for pending in batch.into_iter().rev() {
            self.queued_bytes += pending.bytes();
            self.queue.push_front(pending);
        }
    }

    /// Answers everybody who waits: the message is kept and tried; or it is live, and is not kept
    /// for later.
    pub(super) fn answer_all(&mut self) {
        self.answer_first(usize::MAX);
    }

    /// Answers everybody who has waited for as long as publishers are patient, and who comes
    /// before them.
    fn answer_overdue(&mut self, now: Instant) {
        let patience = self.node.config.publish_patience;
        let flight = self.flight.iter().flat_map(|flight| &flight.batch);
        let overdue = flight.chain(&self.queue).enumerate().filter(|(_, pending)| {
            pending.waits_for_answer() && pending.accepted() + patience <= now
        });
        if let Some((last, _)) = overdue.last() {
            self.answer_first(last + 1);
        }
    }

    fn answer_first(&mut self, most: usize) {
        let tallies = Arc::clone(&self.node.tallies);
        let flight = self.flight.iter_mut().flat_map(|flight| &mut flight.batch);
        let in_flight = flight.take(most).map(|pending| pending.answer(&tallies)).count();
        let in_queue = self.queue.len().min(most - in_flight);
        self.queue.iter_mut().take(in_queue).for_each(|pending| pending.answer(&tallies));
        if self.queue.iter().take(in_queue).any(|pending| pending.live) {
            let rest = self.queue.split_off(in_queue);
            for pending in std::mem::replace(&mut self.queue, rest).into_iter().rev() {
                if pending.live {
                    self.queued_bytes = self.queued_bytes.saturating_sub(pending.bytes());
                    self.drop_live(pending);
                } else {
                    self.queue.push_front(pending);
                }
            }
        }
    }

    /// Looks at what has waited too long.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        if self.is_stalled() {
            self.answer_all();
        } else {
            self.answer_overdue(now);
        }
        let hung =
            |began: Instant| now.saturating_duration_since(began) >= self.node.config.spool_age;
        if self.flight.as_ref().is_some_and(|flight| hung(flight.began))
            && let Some(flight) = self.flight.take()
        {
            let error = tavern_backend::Error::outcome_unknown("the backend does not answer");
            self.failed(flight.batch, &error);
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let flight = self.flight.take().map(|flight| flight.batch).unwrap_or_default();
            for mut pending in flight {
                pending.maybe_stored = true;
                self.give_up(pending, "the broker closed before the backend took it");
            }
            while let Some(pending) = self.pop() {
                self.give_up(pending, "the broker closed before the backend took it");
            }
        }
        while self.queue.front().is_some_and(|front| front.until <= now) {
            if let Some(pending) = self.pop() {
                self.give_up(pending, "the backend was away for longer than messages are spooled");
            }
        }
    }

    fn pop(&mut self) -> Option<Pending> {
        let pending = self.queue.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(pending.bytes());
        Some(pending)
    }

    fn give_up(&mut self, pending: Pending, reason: &str) {
        let error = if pending.maybe_stored {
            tavern_backend::Error::outcome_unknown(reason)
        } else {
            tavern_backend::Error::unavailable(reason)
        };
        self.refuse(pending, Error::Backend(error));
    }
}
