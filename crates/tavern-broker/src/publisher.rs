//! The way out: one queue per node, in order, settled before what comes later.
//!
//! ```text
//!   publish ──► jobs ──► queue ──► flight (one batch) ──► backend
//!                          ▲          │ failed: back to the front, same keys
//!                          └──────────┘
//! ```
//!
//! While the backend is away the queue is the *spool*: callers are answered with tickets, and over
//! its bounds with an error. A batch whose outcome is unknown is sent again with the same keys, so
//! that the log itself tells which of it it has; nothing overtakes it.

mod landing;
mod pending;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, OptionFuture};
use tavern_backend::{Append, HealthWatch, MessageEnvelope, Position, Publication, Published};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::outcome::Outcome;
use crate::shared::Node;

use pending::Pending;

/// Bytes of data in one batch.
const BATCH_BYTES: usize = 4 << 20;

/// How often others are let go first before a batch leaves.
const TURNS: usize = 8;

/// A publication on its way to the queue.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) envelope: MessageEnvelope,
    pub(crate) live: bool,
    pub(crate) accepted: Instant,
    pub(crate) reply: oneshot::Sender<Result<Outcome>>,
}

/// The task that owns the queue.
pub(crate) struct Publisher {
    node: Arc<Node>,
    jobs: mpsc::Receiver<Job>,
    health: HealthWatch,
    queue: VecDeque<Pending>,
    queued_bytes: usize,
    flight: Option<Flight>,
    /// When the front of the queue is tried again, after a failure.
    retry_at: Option<Instant>,
    backoff: Backoff,
    /// So many batches of one: a batch was refused as a whole, and one of it is to blame.
    singly: usize,
    /// After this the rest is given up: the broker closes.
    deadline: Option<Instant>,
}

/// A batch at the backend.
struct Flight {
    batch: Vec<Pending>,
    began: Instant,
    call: BoxFuture<'static, tavern_backend::Result<Vec<Published>>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("queue", &self.queue.len()).finish_non_exhaustive()
    }
}

impl Publisher {
    pub(crate) fn new(node: Arc<Node>, jobs: mpsc::Receiver<Job>) -> Self {
        Self {
            health: node.bus.health(),
            node,
            jobs,
            queue: VecDeque::new(),
            queued_bytes: 0,
            flight: None,
            retry_at: None,
            backoff: Backoff::default(),
            singly: 0,
            deadline: None,
        }
    }

    /// Runs until `drain` is triggered and the queue is empty, or its time is over.
    pub(crate) async fn run(mut self, drain: CancellationToken) {
        let mut jobs = Vec::new();
        let (mut open, mut watching) = (true, true);
        while open || !self.queue.is_empty() || self.flight.is_some() {
            self.take_off();
            let room = self.room();
            let wake = self.next_deadline();
            tokio::select! {
                // New jobs come last: they could keep the rest from its turn for ever.
                biased;
                () = drain.cancelled(), if self.deadline.is_none() => {
                    self.jobs.close();
                    self.deadline = Some(Instant::now() + self.node.config.close_drain);
                }
                landed = OptionFuture::from(self.flight.as_mut().map(|f| &mut f.call)),
                    if self.flight.is_some() =>
                {
                    if let (Some(flight), Some(landed)) = (self.flight.take(), landed) {
                        let answered = flight.batch.len();
                        self.land(flight.batch, landed);
                        self.gather(answered).await;
                    }
                }
                health = self.health.changed(), if watching => match health {
                    Some(health) if health.up => self.retry_at = None,
                    Some(_) => self.answer_all(),
                    None => (open, watching) = (false, false),
                },
                () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.tick();
                }
                n = self.jobs.recv_many(&mut jobs, room), if open && room > 0 => {
                    open = n > 0;
                    jobs.drain(..).for_each(|job| self.accept(job));
                }
            }
            let spooled = if self.is_stalled() { self.queue.len() } else { 0 };
            self.node.tallies.spool_entries.set(u64::try_from(spooled).unwrap_or(u64::MAX));
        }
    }

    /// Lets those who were just answered publish again, if they will at once: together with what
    /// came meanwhile that makes one batch, instead of two that take turns and are half as large.
    async fn gather(&mut self, answered: usize) {
        let all = self.queue.len() + answered;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
            for _ in 0..self.room() {
                let Ok(job) = self.jobs.try_recv() else { break };
                self.accept(job);
            }
            if self.queue.len() >= all {
                break;
            }
        }
    }

    /// How many jobs may be taken in now.
    fn room(&self) -> usize {
        let most = self.node.config.publish_queue;
        if self.is_stalled() {
            // They are answered at once, with a ticket or an error: nobody is left waiting.
            return most.max(1);
        }
        most.saturating_sub(self.queue.len())
    }

    /// Whether publications are spooled rather than sent: the backend failed, or does not answer.
    fn is_stalled(&self) -> bool {
        let silent = self.flight.as_ref().is_some_and(|f| f.began.elapsed() >= self.patience());
        let failed = self.retry_at.is_some()
            && self.queue.front().is_some_and(|p| p.accepted().elapsed() >= self.patience());
        silent || failed || !self.health.get().up
    }

    fn patience(&self) -> Duration {
        self.node.config.publish_patience
    }

    fn accept(&mut self, job: Job) {
        let Job { envelope, live, accepted, reply } = job;
        let stalled = self.is_stalled();
        if !live
            && stalled
            && let Some(reason) = self.spool_is_full(envelope.data.len())
        {
            self.node.tallies.published_rejected.one();
            let retry_after = Duration::from_secs(1);
            drop(reply.send(Err(Error::SpoolFull { reason, retry_after })));
            return;
        }
        let publication = Publication { key: self.node.bus.next_key(), envelope, accepted };
        let until = accepted + self.node.config.spool_age;
        let mut pending = Pending::new(publication, live, until, reply);
        if stalled {
            if self.first_without_answer().is_some() {
                self.answer_all();
            }
            pending.answer(&self.node.tallies);
        }
        if live && stalled {
            return self.drop_live(pending);
        }
        self.queued_bytes += pending.bytes();
        self.queue.push_back(pending);
    }

    fn spool_is_full(&self, bytes: usize) -> Option<&'static str> {
        let config = &self.node.config;
        // What is on its way comes back if it fails.
        let flight = self.flight.as_ref().map_or(&[][..], |flight| &flight.batch);
        if self.queue.len() + flight.len() >= config.spool_entries {
            return Some("too many messages are waiting");
        }
        let waiting = self.queued_bytes + flight.iter().map(Pending::bytes).sum::<usize>();
        let over = waiting.saturating_add(bytes) > config.spool_bytes;
        over.then_some("too many bytes are waiting")
    }

    /// Sends the front of the queue, if nothing is under way.
    fn take_off(&mut self) {
        if self.queue.is_empty() {
            // Nothing is left of what failed.
            self.retry_at = None;
        }
        let waits = self.retry_at.is_some_and(|at| at > Instant::now());
        if self.flight.is_some() || self.queue.is_empty() || waits {
            return;
        }
        self.retry_at = None;
        if !self.drop_live_tried() {
            self.retry_at = Some(Instant::now() + self.backoff.next());
            return;
        }
        if self.queue.is_empty() {
            return;
        }
        let most = if self.singly > 0 { 1 } else { self.node.config.publish_batch };
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.queue.front() {
            bytes += next.bytes();
            if !batch.is_empty() && (batch.len() >= most || bytes > BATCH_BYTES) {
                break;
            }
            batch.extend(self.queue.pop_front());
        }
        self.queued_bytes -= batch.iter().map(Pending::bytes).sum::<usize>();
        let publications = batch.iter().map(|pending| pending.publication.clone()).collect();
        let append = Append { known: self.known(), publications };
        let bus = self.node.bus.clone();
        let call = Box::pin(async move { bus.append(append).await });
        self.flight = Some(Flight { batch, began: Instant::now(), call });
    }

    /// When they were accepted nobody may have known that their topics are live: tried once, with an
    /// answer that was lost, they may have gone out, and would come twice. Returns whether the log
    /// has said by now which topics are.
    fn drop_live_tried(&mut self) -> bool {
        if self.queue.front().is_none_or(|front| !front.maybe_stored) {
            return true;
        }
        let Some(rules) = self.node.retention() else { return false };
        for pending in std::mem::take(&mut self.queue) {
            if pending.maybe_stored && rules.of(&pending.publication.envelope.topic).is_live() {
                self.queued_bytes = self.queued_bytes.saturating_sub(pending.bytes());
                self.deliver_here(&pending);
                self.drop_live(pending);
            } else {
                self.queue.push_back(pending);
            }
        }
        true
    }

    /// The highest position this node has heard of in the epoch that it is in.
    fn known(&self) -> Option<Position> {
        let here = self.node.ring.position()?;
        Some(self.node.extent.of(here.epoch).filter(|known| known.seq > here.seq).unwrap_or(here))
    }

    /// The next moment at which something has to be done without anything happening.
    fn next_deadline(&self) -> Option<Instant> {
        let flight = self.flight.as_ref().map(|flight| {
            let patience = flight.began + self.patience();
            if patience > Instant::now() {
                patience
            } else {
                flight.began + self.node.config.spool_age
            }
        });
        let front = self.queue.front().map(|front| front.until);
        let answer = self.first_without_answer().map(|first| first.accepted() + self.patience());
        // What is past its time may have nothing to give up: that is no reason to wake.
        let deadline = self.deadline.filter(|_| self.flight.is_some() || !self.queue.is_empty());
        [flight, front, answer, self.retry_at, deadline].into_iter().flatten().min()
    }

    /// The first whose publisher waits. All before it were answered, as answers are given from the
    /// front on.
    fn first_without_answer(&self) -> Option<&Pending> {
        let flight = self.flight.as_ref().map_or(&[][..], |flight| &flight.batch);
        let in_flight = flight.partition_point(|pending| !pending.waits_for_answer());
        let in_queue = || self.queue.partition_point(|pending| !pending.waits_for_answer());
        flight.get(in_flight).or_else(|| self.queue.get(in_queue()))
    }
}

#[cfg(test)]
mod tests;
