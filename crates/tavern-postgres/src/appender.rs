//! The one task that appends: what came together goes in one transaction.

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Append, Error, Published, Rejection, Result};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::append::{Answer, Batch, Message};
use crate::connect::timed;
use crate::failure::Failure;
use crate::shared::{Session, Shared};

/// Messages in one call.
const MESSAGES: usize = 1000;
/// Bytes in one call, unless one message has more.
const BYTES: usize = 4 << 20;
/// Bytes that one call can have: the protocol's limit is less than twice as much.
const MOST: usize = 512 << 20;
/// How often others get a turn before the next call is made.
const TURNS: usize = 8;
/// How often a call is made anew because the log had changed under it.
const TRIES: usize = 6;
/// The wait before a transaction that was in another one's way is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// Who waits.
#[derive(Debug)]
pub(crate) enum Job {
    /// A caller's batch.
    Append(Append, oneshot::Sender<Result<Vec<Published>>>),
    /// Messages from the outbox, on their way into the log.
    Outbox(Vec<Message>, oneshot::Sender<std::result::Result<Vec<Option<Published>>, Failure>>),
}

#[derive(Debug)]
pub(crate) struct Appender {
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    /// Taken from the queue and not sent yet.
    waiting: Vec<Job>,
}

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>, jobs: mpsc::Receiver<Job>) -> Self {
        Self { shared, jobs, waiting: Vec::new() }
    }

    /// Runs until the backend closes; what is waiting then is answered.
    pub(crate) async fn run(mut self, token: CancellationToken) {
        loop {
            if self.waiting.is_empty() {
                let shared = Arc::clone(&self.shared);
                let lacks_room = shared.health.lacks_room();
                let received = tokio::select! {
                    received = self.jobs.recv_many(&mut self.waiting, MESSAGES) => received,
                    () = token.cancelled() => 0,
                    // Perhaps nobody publishes any more.
                    () = try_room(&shared), if lacks_room => continue,
                };
                if received == 0 {
                    break;
                }
            }
            let answered = tokio::select! {
                answered = self.turn() => answered,
                () = token.cancelled() => break,
            };
            self.gather(answered).await;
        }
        self.jobs.close();
        while let Ok(job) = self.jobs.try_recv() {
            self.waiting.push(job);
        }
        for job in self.waiting {
            job.fail(&Failure::from(Error::Closed));
        }
    }

    /// Lets those who were just answered publish again, if they will at once: together with what
    /// came meanwhile that makes one transaction, instead of two that take turns.
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
        let (mut known, mut messages, mut bytes, mut taken) = (Batch::default(), 0, 0, 0);
        for job in &self.waiting {
            let (count, size) = job.weight();
            let full = messages + count > MESSAGES || bytes + size > BYTES;
            let apart = matches!(job, Job::Append(append, _) if !known.goes_with(append));
            if taken > 0 && (full || apart) {
                break;
            }
            if let Job::Append(append, _) = job {
                known.learn(append.known);
            }
            messages += count;
            bytes += size;
            taken += 1;
        }
        let mut batch = Batch { known: known.known, messages: Vec::with_capacity(messages) };
        let mut slots = Vec::with_capacity(taken);
        for job in self.waiting.drain(..taken) {
            // It would look like a lost link, each time it is tried.
            if bytes > MOST {
                job.fail(&Failure::lasting(format!(
                    "a batch of {bytes} bytes is more than the database takes at once"
                )));
                continue;
            }
            slots.push(Slot::new(job, max, &mut batch));
        }
        match self.append(&batch).await {
            Ok(published) => {
                let mut published = published.into_iter();
                for slot in slots {
                    slot.answer(&mut published);
                }
            }
            // Something in one of them: the others go without it.
            Err(failure) if failure.refused && taken > 1 => {
                let mut messages = batch.messages.into_iter();
                for slot in slots {
                    let alone = messages.by_ref().take(slot.count()).collect();
                    let alone = Batch { known: batch.known, messages: alone };
                    match self.append(&alone).await {
                        Ok(published) => slot.answer(&mut published.into_iter()),
                        Err(failure) => slot.fail(&failure),
                    }
                }
            }
            Err(failure) => {
                for slot in slots {
                    slot.fail(&failure);
                }
            }
        }
        taken
    }

    async fn append(&self, batch: &Batch) -> std::result::Result<Vec<Option<Published>>, Failure> {
        if batch.messages.is_empty() && batch.known.is_none() {
            return Ok(Vec::new());
        }
        let session = self.shared.session().map_err(Failure::from)?;
        self.try_append(batch, &session)
            .await
            .inspect(|published| {
                if published.iter().any(|one| matches!(one, Some(Published::Stored(_)))) {
                    self.shared.health.has_room();
                }
            })
            .inspect_err(|failure| {
                if failure.full {
                    self.shared.health.is_full(&failure.reason);
                }
                session.notice(failure);
                if failure.absent {
                    session.ending.end(&failure.reason);
                }
            })
    }

    async fn try_append(
        &self,
        batch: &Batch,
        session: &Session,
    ) -> std::result::Result<Vec<Option<Published>>, Failure> {
        let mut view = self.shared.known(session).await.map_err(Failure::undone)?;
        for _ in 0..TRIES {
            match batch.send(&self.shared, session, &view).await {
                Ok(Answer::Done(published)) => return Ok(published),
                Ok(Answer::Stale) => {
                    view = self.shared.look(session).await.map_err(Failure::undone)?.view;
                }
                Err(failure) if failure.again => tokio::time::sleep(AGAIN).await,
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::new("the log changes all the time"))
    }
}

/// After a while, finds out whether there is room again: stores something, and takes it back.
async fn try_room(shared: &Shared) {
    tokio::time::sleep(shared.config.reconnect_max).await;
    let (Some(view), Ok(session)) = (shared.view(), shared.session()) else { return };
    let call = format!(
        "INSERT INTO tavern.entry (namespace, seq, lane, appended, record)
            VALUES ({}, -pg_backend_pid(), 0, 0, decode(repeat('00', 65536), 'hex'))",
        view.id
    );
    // All of them go out, even if this is not waited for.
    let calls = async {
        let writer = &session.writer;
        let (begun, stored, _) = futures_util::future::join3(
            writer.batch_execute("BEGIN"),
            writer.batch_execute(&call),
            writer.batch_execute("ROLLBACK"),
        )
        .await;
        begun.and(stored)
    };
    match timed(shared.config.timeout, calls).await {
        Ok(()) => shared.health.has_room(),
        Err(failure) => session.notice(&failure),
    }
}

impl Job {
    fn weight(&self) -> (usize, usize) {
        match self {
            Self::Append(append, _) => {
                let sizes = append.publications.iter().map(|p| p.envelope.data.len());
                (append.publications.len(), sizes.sum())
            }
            Self::Outbox(messages, _) => {
                let sizes = messages.iter().map(|m| m.publication.envelope.data.len());
                (messages.len(), sizes.sum())
            }
        }
    }

    fn fail(self, failure: &Failure) {
        // Who does not wait any more needs no answer.
        match self {
            Self::Append(_, reply) => drop(reply.send(Err(failure.to_write_error()))),
            Self::Outbox(_, reply) => drop(reply.send(Err(failure.clone()))),
        }
    }
}

/// Where a job's messages went.
enum Slot {
    Append {
        reply: oneshot::Sender<Result<Vec<Published>>>,
        /// For each message: its answer, where it needs none of the log's.
        early: Vec<Option<Published>>,
    },
    Outbox {
        reply: oneshot::Sender<std::result::Result<Vec<Option<Published>>, Failure>>,
        count: usize,
    },
}

impl Slot {
    fn new(job: Job, max: usize, batch: &mut Batch) -> Self {
        match job {
            Job::Append(append, reply) => {
                let mut early = Vec::with_capacity(append.publications.len());
                for publication in append.publications {
                    let size = publication.envelope.data.len();
                    let too_large = size > max;
                    early.push(
                        too_large.then_some(Published::Rejected(Rejection::TooLarge { size, max })),
                    );
                    if !too_large {
                        batch.messages.push(Message { publication, outbox: None });
                    }
                }
                Self::Append { reply, early }
            }
            Job::Outbox(messages, reply) => {
                let count = messages.len();
                batch.messages.extend(messages);
                Self::Outbox { reply, count }
            }
        }
    }

    /// How many of its messages the log has to answer.
    fn count(&self) -> usize {
        match self {
            Self::Append { early, .. } => early.iter().filter(|early| early.is_none()).count(),
            Self::Outbox { count, .. } => *count,
        }
    }

    /// Takes as many of the log's answers as it has messages without one.
    fn answer(self, of_log: &mut std::vec::IntoIter<Option<Published>>) {
        // Who does not wait any more needs no answer.
        match self {
            Self::Append { reply, early } => {
                let answers =
                    early.into_iter().filter_map(|early| early.or_else(|| of_log.next()?));
                drop(reply.send(Ok(answers.collect())));
            }
            Self::Outbox { reply, count } => {
                drop(reply.send(Ok(of_log.by_ref().take(count).collect())));
            }
        }
    }

    fn fail(self, failure: &Failure) {
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(failure.to_write_error()))),
            Self::Outbox { reply, .. } => drop(reply.send(Err(failure.clone()))),
        }
    }
}
