//! The one thread that writes: gathers what is queued, takes its turn, commits it as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tavern_backend::{Append, Published, Result, Retention};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::failure::{Failure, Kind, Outcome};
use crate::log::Log;
use crate::shared::Shared;
use crate::vitals::Part;

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Append(AppendRequest),
    /// Do what was queued before this, then end.
    Stop,
}

#[derive(Debug)]
pub(crate) struct AppendRequest {
    pub(crate) append: Append,
    pub(crate) claim: Arc<Claim>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Published>>>,
    /// A place in the queue, given back when the request leaves it.
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// Who decides about a request: the writer by beginning it, or the caller by giving it up.
#[derive(Debug, Default)]
pub(crate) struct Claim(AtomicU8);

const QUEUED: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Claim {
    /// The writer's: whether it may begin.
    fn begin(&self) -> bool {
        self.0.compare_exchange(QUEUED, BEGUN, Ordering::AcqRel, Ordering::Acquire) != Err(GIVEN_UP)
    }

    /// The caller's: whether nothing was begun, and nothing will be.
    pub(crate) fn give_up(&self) -> bool {
        self.0.compare_exchange(QUEUED, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Acquire) == GIVEN_UP
    }
}

impl AppendRequest {
    /// Whether nobody waits for it any more.
    fn is_idle(&self) -> bool {
        self.claim.is_given_up() || self.reply.is_closed()
    }

    fn answer(self, answer: Result<Vec<Published>>) {
        // Who is gone has no use for the answer; the keys of a retry find what was stored.
        let _ = self.reply.send(answer);
    }
}

/// A group takes no more publications than this, …
const GROUP: usize = 1024;
/// … nor more bytes of data.
const GROUP_BYTES: usize = 8 << 20;
/// How long a group waits for the next request, as long as it is smaller than the last one was.
const LINGER: Duration = Duration::from_micros(50);
/// How often the writer looks around when nothing is asked of it.
const TICK: Duration = Duration::from_millis(500);
/// The same while something is wrong.
const TICK_DOWN: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    inbox: Receiver<Request>,
    log: Log,
    stopping: bool,
    /// How many requests the last group had.
    last: usize,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, inbox: Receiver<Request>) -> Outcome<Self> {
        let log = Log::new(Arc::clone(&shared))?;
        Ok(Self { shared, inbox, log, stopping: false, last: 0 })
    }

    /// Creates or opens the log. Returns the rules in force if they are not those configured.
    pub(crate) fn open(&mut self) -> Outcome<Option<Retention>> {
        self.log.open()
    }

    pub(crate) fn run(mut self) {
        while !self.stopping {
            let failing = self.shared.vitals.is_failing(Part::Writer);
            let tick = if failing { TICK_DOWN } else { self.log.jitter(TICK) };
            match self.inbox.recv_timeout(tick) {
                Ok(Request::Append(first)) => self.group(first),
                Err(RecvTimeoutError::Timeout) => {
                    let looked = self.log.look(failing);
                    self.tell(&looked);
                }
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Commits `first` and what is queued behind it.
    fn group(&mut self, first: AppendRequest) {
        let mut group = vec![first];
        self.gather(&mut group);
        self.linger(&mut group);
        self.last = group.len();
        if let Err(failure) = self.log.enter() {
            self.tell::<()>(&Err(failure.clone()));
            refuse(group, &failure);
            return;
        }
        // The turn may have been long in coming: more is queued, and some have given up.
        self.gather(&mut group);
        group.retain(|request| !request.is_idle());
        let begun = if group.is_empty() { Ok(()) } else { self.begin(&mut group) };
        match begun {
            Ok(()) if group.is_empty() => {
                self.log.leave();
                // The turn itself was what was missing.
                let looked = self.log.look(self.shared.vitals.is_failing(Part::Writer));
                self.tell(&looked);
            }
            Ok(()) => self.commit(group),
            Err(failure) => {
                self.log.leave();
                self.tell::<()>(&Err(failure.clone()));
                refuse(group, &failure);
            }
        }
    }

    /// Waits a moment for publishers who were just answered and are about to come back: without
    /// it they would split into two groups that take turns, and every commit would be half full.
    fn linger(&mut self, group: &mut Vec<AppendRequest>) {
        while !self.stopping && group.len() < self.last {
            match self.inbox.recv_timeout(LINGER) {
                Ok(Request::Append(request)) => group.push(request),
                Ok(Request::Stop) => self.stopping = true,
                Err(_) => return,
            }
            self.gather(group);
            if full(group) {
                return;
            }
        }
    }

    fn gather(&mut self, group: &mut Vec<AppendRequest>) {
        let (mut messages, mut bytes) = extent(group);
        while !self.stopping && messages < GROUP && bytes < GROUP_BYTES {
            match self.inbox.try_recv() {
                Ok(Request::Append(request)) => {
                    messages += request.append.publications.len();
                    bytes += size(&request);
                    group.push(request);
                }
                Ok(Request::Stop) => self.stopping = true,
                Err(_) => break,
            }
        }
    }

    /// Begins a transaction, waiting for other programs as long as anybody waits for us. What is
    /// given up until then is taken out of the group.
    fn begin(&mut self, group: &mut Vec<AppendRequest>) -> Outcome<()> {
        let attempts =
            self.shared.config.lock_timeout.as_millis() / crate::schema::BUSY.as_millis();
        let mut attempt = 0;
        loop {
            match self.log.begin() {
                Ok(()) => break,
                Err(failure) if failure.is_locked() && attempt < attempts => attempt += 1,
                Err(failure) => return Err(failure),
            }
            group.retain(|request| !request.is_idle());
            if group.is_empty() {
                return Ok(());
            }
        }
        group.retain(|request| request.claim.begin());
        if group.is_empty() {
            self.log.rollback();
        }
        Ok(())
    }

    fn commit(&mut self, group: Vec<AppendRequest>) {
        let appends: Vec<&Append> = group.iter().map(|request| &request.append).collect();
        match self.log.append(&appends) {
            Ok(answers) => {
                self.log.leave();
                self.log.ring();
                self.tell(&Ok(()));
                for (request, answer) in group.into_iter().zip(answers) {
                    request.answer(Ok(answer));
                }
            }
            // One that is too large, or that meets a damaged row, must not take the others along.
            Err(failure) if group.len() > 1 && failure.kind != Kind::Unknown => {
                for request in group {
                    self.alone(request);
                }
                self.log.leave();
                self.log.ring();
            }
            Err(failure) => {
                self.log.leave();
                self.tell::<()>(&Err(failure.clone()));
                refuse(group, &failure);
            }
        }
    }

    fn alone(&mut self, request: AppendRequest) {
        let answers = self.log.begin().and_then(|()| self.log.append(&[&request.append]));
        self.tell(&answers);
        match answers {
            Ok(mut answers) => request.answer(Ok(answers.pop().unwrap_or_default())),
            Err(failure) => request.answer(Err(failure.into())),
        }
    }

    fn tell<T>(&self, outcome: &Outcome<T>) {
        match outcome {
            Ok(_) => self.shared.vitals.works(Part::Writer),
            Err(failure) => {
                self.shared.vitals.fails(Part::Writer, Arc::clone(&failure.reason));
            }
        }
    }
}

/// How many publications a group has, and how many bytes of data.
fn extent(group: &[AppendRequest]) -> (usize, usize) {
    (group.iter().map(|r| r.append.publications.len()).sum(), group.iter().map(size).sum())
}

fn full(group: &[AppendRequest]) -> bool {
    let (messages, bytes) = extent(group);
    messages >= GROUP || bytes >= GROUP_BYTES
}

fn size(request: &AppendRequest) -> usize {
    request.append.publications.iter().map(|p| p.envelope.data.len()).sum()
}

fn refuse(group: Vec<AppendRequest>, failure: &Failure) {
    for request in group {
        request.answer(Err(failure.clone().into()));
    }
}
