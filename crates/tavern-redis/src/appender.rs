//! The one task that appends: what came together goes in one call.

use std::sync::Arc;

use redis::{Value, cmd};
use tavern_backend::{Append, Error, Position, Published, Rejection, Result};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::append::{Answer, Batch};
use crate::config::Durability;
use crate::failure::Failure;
use crate::number::millis;
use crate::shared::{Session, Shared};

/// Messages in one call: the script's tables and replies stay small, and nobody else waits long.
const MESSAGES: usize = 1000;
/// Bytes in one call, unless one message has more.
const BYTES: usize = 2 << 20;
/// How often others get a turn before the next call is made.
const TURNS: usize = 8;
/// How often a call is made anew because the log had changed under it.
const TRIES: usize = 6;

/// A caller's batch on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) append: Append,
    pub(crate) reply: oneshot::Sender<Result<Vec<Published>>>,
}

#[derive(Debug)]
pub(crate) struct Appender {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    /// Taken from the queue and not sent yet.
    waiting: Vec<Job>,
}

/// Where a caller's messages went.
struct Slot {
    reply: oneshot::Sender<Result<Vec<Published>>>,
    /// What the caller knew of the log.
    known: Option<Position>,
    /// For each message: its answer, where it needs none of the log's.
    early: Vec<Option<Published>>,
}

impl Slot {
    /// Takes as many of the log's answers as it has messages without one.
    fn answer(self, answers: std::result::Result<&mut std::vec::IntoIter<Published>, &Failure>) {
        let answer = match answers {
            Ok(of_log) => {
                let early = self.early.into_iter();
                Ok(early.filter_map(|early| early.or_else(|| of_log.next())).collect())
            }
            Err(failure) => Err(failure.to_write_error()),
        };
        // Who does not wait any more needs no answer.
        let _ = self.reply.send(answer);
    }
}

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>, jobs: mpsc::Receiver<Job>) -> Self {
        Self { shared, jobs, waiting: Vec::new() }
    }

    /// Runs until the backend closes; what is waiting then is answered.
    pub(crate) async fn run(mut self, token: CancellationToken) {
        loop {
            if self.waiting.is_empty() {
                let received = tokio::select! {
                    biased;
                    received = self.jobs.recv_many(&mut self.waiting, MESSAGES) => received,
                    () = token.cancelled() => 0,
                };
                if received == 0 {
                    break;
                }
            }
            let answered = self.turn().await;
            self.gather(answered).await;
        }
        self.jobs.close();
        while let Ok(job) = self.jobs.try_recv() {
            self.waiting.push(job);
        }
        for job in self.waiting {
            // Who does not wait any more needs no answer.
            let _ = job.reply.send(Err(Error::Closed));
        }
    }

    /// Lets those who were just answered publish again, if they will at once: together with what
    /// came meanwhile that makes one call, instead of two that take turns and are half as large.
    async fn gather(&mut self, answered: usize) {
        let all = self.waiting.len() + self.jobs.len() + answered;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
            while self.waiting.len() < MESSAGES
                && let Ok(job) = self.jobs.try_recv()
            {
                self.waiting.push(job);
            }
            if self.waiting.len() >= all {
                break;
            }
        }
    }

    /// Sends as much as goes into one call, from the front. Returns how many were answered.
    async fn turn(&mut self) -> usize {
        let max = self.shared.config.max_payload;
        let (mut batch, mut slots) = (Batch::default(), Vec::new());
        let (mut taken, mut messages, mut bytes) = (0, 0, 0);
        for Job { append, .. } in &self.waiting {
            let sizes = || append.publications.iter().map(|p| p.envelope.data.len());
            let size: usize = sizes().sum();
            let full = messages + append.publications.len() > MESSAGES || bytes + size > BYTES;
            if taken > 0 && (full || !batch.goes_with(append)) {
                break;
            }
            messages += sizes().filter(|size| *size <= max).count();
            bytes += size;
            taken += 1;
            batch.learn(append.known);
        }
        for Job { append, reply } in self.waiting.drain(..taken) {
            let mut early = Vec::with_capacity(append.publications.len());
            for publication in append.publications {
                let size = publication.envelope.data.len();
                let too_large = size > max;
                early.push(
                    too_large.then_some(Published::Rejected(Rejection::TooLarge { size, max })),
                );
                if !too_large {
                    batch.publications.push(publication);
                }
            }
            slots.push(Slot { early, reply, known: append.known });
        }
        match self.append(&batch).await {
            Ok(published) => {
                let mut published = published.into_iter();
                for slot in slots {
                    slot.answer(Ok(&mut published));
                }
            }
            Err(failure) if failure.is_refusal() && slots.len() > 1 => {
                // What one of them asks for is refused. The others shall not suffer for it: a
                // server without memory takes live messages, a key of another type is one lane's.
                let mut publications = batch.publications.into_iter();
                for slot in slots {
                    let sent = slot.early.iter().filter(|early| early.is_none()).count();
                    let publications = publications.by_ref().take(sent).collect();
                    let alone = Batch { known: slot.known, publications };
                    match self.append(&alone).await {
                        Ok(published) => slot.answer(Ok(&mut published.into_iter())),
                        Err(failure) => slot.answer(Err(&failure)),
                    }
                }
            }
            Err(failure) => {
                for slot in slots {
                    slot.answer(Err(&failure));
                }
            }
        }
        taken
    }

    async fn append(&self, batch: &Batch) -> std::result::Result<Vec<Published>, Failure> {
        if batch.publications.is_empty() && batch.known.is_none() {
            return Ok(Vec::new());
        }
        let session = self.shared.session().map_err(Failure::from)?;
        let answer = self.try_append(batch, &session).await;
        answer.inspect_err(|failure| session.notice(failure))
    }

    async fn try_append(
        &self,
        batch: &Batch,
        session: &Session,
    ) -> std::result::Result<Vec<Published>, Failure> {
        let mut view = self.shared.known(session).await?;
        for _ in 0..TRIES {
            match batch.send(&self.shared, session, &view).await? {
                Answer::Done(published) => {
                    self.wait_for_replicas(session).await?;
                    return Ok(published);
                }
                Answer::Stale | Answer::Absent => view = self.shared.look(session).await?.view,
                Answer::Damaged => {
                    self.shared.open(session, &view.log).await?;
                    view = self.shared.look(session).await?.view;
                }
            }
        }
        Err(Failure::new("the log changes all the time"))
    }

    async fn wait_for_replicas(&self, session: &Session) -> std::result::Result<(), Failure> {
        let Durability::Replicas { replicas, timeout } = self.shared.config.durability else {
            return Ok(());
        };
        let command = cmd("WAIT").arg(replicas).arg(millis(timeout)).clone();
        let mut conn = session.writer.clone();
        conn.set_response_timeout(self.shared.config.timeout + timeout);
        let answer = conn.send_packed_command(&command).await.and_then(Value::extract_error);
        match answer.map_err(|error| Failure::from(error).in_doubt())? {
            Value::Int(reached) if reached >= i64::from(replicas) => Ok(()),
            Value::Int(reached) => Err(Failure::unknown(format!(
                "{reached} of {replicas} replicas have acknowledged the append in time"
            ))),
            _ => Err(crate::reply::strange().in_doubt()),
        }
    }
}
