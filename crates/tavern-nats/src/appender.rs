//! The one task that publishes: one connection, in order, many messages on their way at once.
//!
//! What goes over one connection to one server is stored in that order, and when the connection is
//! cut, what was not stored is the end of it. On a cluster that does not hold: a message may find a
//! leader gone and the next one its successor. There a message waits until those of its topic
//! before it are acknowledged.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tavern_backend::{
    Append, Error, LogTime, Place, Position, Publication, Published, Rejection, Result, wire,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Ack;
use crate::batch::Batch;
use crate::body::{self, Body};
use crate::failure::Failure;
use crate::log::View;
use crate::names::{lane_name, message_id};
use crate::page;
use crate::resent::{Kept, Known, Unsettled};
use crate::shared::{Session, Shared};

/// Messages on their way at most.
const FLYING: usize = 4096;
/// Bytes of them, unless one message has more.
const BYTES: usize = 8 << 20;
/// After a refusal messages leave one by one for so long: a store that is full has room again at any
/// moment, and what is on its way then would overtake what was refused.
const CAREFUL: Duration = Duration::from_secs(5);
/// What the server puts around a message besides our own headers: the names of headers, of the
/// stream and of the subject it came from, sequences, a time.
const AROUND: usize = 512;

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
    /// What became of publications whose callers were not told: they may be sent again.
    unsettled: Unsettled,
    /// The time of the last message: times never run backwards.
    last: LogTime,
    /// When the server refused one the last time.
    refused: Option<Instant>,
}

/// A message on its way.
#[derive(Debug)]
struct Flying {
    batch: u64,
    slot: usize,
    size: usize,
    /// Where several servers hold the log: it keeps others of its lane waiting.
    lane: Option<String>,
    /// With an id that a publisher gave: what is compared if the log has it.
    given: Option<Publication>,
    live: bool,
    /// Where the log had got to when it left.
    reached: u64,
    left: Instant,
}

/// One link's work.
struct Line {
    session: Arc<Session>,
    view: Arc<View>,
    acks: Subscriber,
    inbox: String,
    /// The number of the first one.
    first: u64,
    flying: VecDeque<Option<Flying>>,
    bytes: usize,
    batches: VecDeque<Batch>,
    /// The number of the first one.
    first_batch: u64,
    /// One was refused: nothing more leaves, as what came later would overtake it when it is sent
    /// again.
    refused: Option<Failure>,
    /// Several servers hold the log, or its one server is reached through another.
    serial: bool,
    /// If so: lanes with a message on its way.
    busy: HashSet<String>,
    /// Lanes of which something is sent again.
    resent: HashMap<String, Kept>,
    /// Ids that the log has: whether it is the same message is being asked.
    compared: FuturesUnordered<BoxFuture<'static, Compared>>,
}

/// A message by its batch and its slot there, and what became of it.
type Compared = (u64, usize, std::result::Result<Published, Failure>);

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>, jobs: mpsc::Receiver<Job>) -> Self {
        let unsettled = Unsettled::default();
        Self { shared, jobs, unsettled, last: LogTime::default(), refused: None }
    }

    /// Runs until the backend closes; what is waiting then is answered.
    pub(crate) async fn run(mut self, token: CancellationToken) {
        let mut next = None;
        loop {
            let job = match next.take() {
                Some(job) => job,
                None => tokio::select! {
                    Some(job) = self.jobs.recv() => job,
                    () = token.cancelled() => break,
                    else => break,
                },
            };
            let session = match self.shared.session() {
                Ok(session) => session,
                Err(error) => {
                    // Who does not wait any more needs no answer.
                    let _ = job.reply.send(Err(error));
                    continue;
                }
            };
            tokio::select! {
                left = self.over(session, job) => next = left,
                () = token.cancelled() => break,
            }
        }
        self.jobs.close();
        while let Ok(job) = self.jobs.try_recv() {
            let _ = job.reply.send(Err(Error::Closed));
        }
    }

    /// Works over one link until it is lost or something fails. Returns a job that was not begun.
    async fn over(&mut self, session: Arc<Session>, job: Job) -> Option<Job> {
        let made = tokio::select! {
            biased;
            made = self.line(&session, &job) => made,
            () = self.shared.until_over(&session) => Err(Failure::of_link(session.ending.reason())),
        };
        let mut line = match made {
            Ok(line) => line,
            Err(failure) => {
                // Nothing of the job was sent.
                let failure = session.explain(&failure).undone();
                let _ = job.reply.send(Err(failure.to_write_error()));
                return None;
            }
        };
        let mut waiting = Some(job);
        loop {
            // What is known is settled with nothing on its way, and in the order of the jobs.
            if let Some(job) = waiting.take() {
                let taken = tokio::select! {
                    biased;
                    taken = self.takes(&mut line, job) => taken,
                    () = self.shared.until_over(&session) => {
                        Err(Failure::of_link(session.ending.reason()))
                    }
                };
                if let Err(failure) = taken {
                    self.fail(&mut line, &failure);
                    return None;
                }
            }
            if let Err(failure) = self.fly(&mut line).await {
                self.fail(&mut line, &failure);
                return None;
            }
            let nothing_left = line.flying.is_empty() && line.compared.is_empty();
            if let Some(failure) = line.refused.take_if(|_| nothing_left) {
                self.refused = Some(Instant::now());
                self.fail(&mut line, &failure);
                return None;
            }
            let deadline = line.deadline(self.shared.config.timeout);
            let room = line.has_room();
            tokio::select! {
                biased;
                ack = line.acks.next() => {
                    let Some(ack) = ack else {
                        self.fail(&mut line, &Failure::of_link(session.ending.reason()));
                        return None;
                    };
                    if let Err(failure) = self.landed(&mut line, &ack) {
                        self.fail(&mut line, &failure);
                        return None;
                    }
                    // As many as have come.
                    while let Some(Some(ack)) = futures_util::FutureExt::now_or_never(line.acks.next()) {
                        if let Err(failure) = self.landed(&mut line, &ack) {
                            self.fail(&mut line, &failure);
                            return None;
                        }
                    }
                }
                Some((batch, slot, published)) = line.compared.next() => match published {
                    Ok(published) => {
                        let number = batch.checked_sub(line.first_batch);
                        let number = number.and_then(|n| usize::try_from(n).ok());
                        line.give(number.unwrap_or(usize::MAX), slot, published);
                        line.answer();
                    }
                    Err(failure) => {
                        self.fail(&mut line, &failure.in_doubt());
                        return None;
                    }
                },
                () = tokio::time::sleep_until(deadline) => {
                    let silent = "the server does not acknowledge in time";
                    self.fail(&mut line, &Failure::of_link(silent).in_doubt());
                    return None;
                }
                job = self.jobs.recv(), if room => waiting = Some(job?),
                () = self.shared.until_over(&line.session) => {}
            }
            let same = self.shared.session().is_ok_and(|now| Arc::ptr_eq(&now, &line.session));
            if !same {
                self.fail(&mut line, &Failure::of_link(session.ending.reason()));
                return waiting;
            }
        }
    }

    /// Everything that has no answer yet gets this one; what is known of it is kept for when it is
    /// sent again.
    fn fail(&mut self, line: &mut Line, failure: &Failure) {
        let failure = line.session.explain(failure);
        for batch in line.batches.drain(..) {
            batch.note(&mut self.unsettled);
            batch.answer(Some(&failure));
        }
    }

    async fn line(&self, session: &Arc<Session>, job: &Job) -> std::result::Result<Line, Failure> {
        let appends = job.append.publications.iter().any(|p| {
            self.shared.view().is_none_or(|v| !v.retention.of(&p.envelope.topic).is_live())
        });
        let view = self.shared.settle(session, job.append.known, appends).await?;
        let inbox = session.writer.new_inbox();
        let acks = session.writer.subscribe(format!("{inbox}.*")).await?;
        Ok(Line {
            session: Arc::clone(session),
            view,
            acks,
            inbox,
            first: 0,
            flying: VecDeque::new(),
            bytes: 0,
            batches: VecDeque::new(),
            first_batch: 0,
            refused: None,
            serial: true,
            busy: HashSet::new(),
            resent: HashMap::new(),
            compared: FuturesUnordered::new(),
        })
    }

    /// Takes a job in; what its caller knows of the log is settled first, if that is news.
    async fn takes(&self, line: &mut Line, job: Job) -> std::result::Result<(), Failure> {
        let Job { append: Append { known, publications }, reply } = job;
        if let Some(view) = self.shared.view() {
            line.view = view;
        }
        let stores =
            publications.iter().any(|p| !line.view.retention.of(&p.envelope.topic).is_live());
        let unsettled = stores && !line.session.settled.load(Ordering::Acquire);
        let news = known.is_some_and(|known| {
            if known.epoch == line.view.lineage.epoch {
                stores && known.seq > self.shared.reached.load(Ordering::Acquire)
            } else {
                (*line.view.lineage).clone().learn(known)
            }
        });
        line.batches.push_back(Batch::new(publications, reply));
        if unsettled || news {
            // Seqs that are on their way are not to be mistaken for what somebody else has seen.
            while line.flying.iter().any(Option::is_some) {
                let ack = tokio::time::timeout(self.shared.config.timeout, line.acks.next()).await;
                match ack {
                    Ok(Some(ack)) => self.landed(line, &ack)?,
                    _ => return Err(Failure::of_link(line.session.ending.reason()).in_doubt()),
                }
            }
            line.view = self.shared.settle(&line.session, known, stores).await?;
        }
        line.answer();
        Ok(())
    }

    /// Gives the connection what may leave.
    async fn fly(&mut self, line: &mut Line) -> std::result::Result<(), Failure> {
        if line.refused.is_some() {
            return Ok(());
        }
        line.serial = line.view.limits.replicas > 1 || line.session.has_peers();
        let careful = self.refused.is_some_and(|last| last.elapsed() < CAREFUL);
        for number in 0..line.batches.len() {
            while let Some(new) = line.batches[number].publications.front() {
                let most = if careful { 1 } else { FLYING };
                if line.flying.len() >= most || (line.bytes > BYTES && !line.flying.is_empty()) {
                    return Ok(());
                }
                let topic = &new.envelope.topic;
                let lane = lane_name(topic, new.envelope.scope.as_ref());
                if line.serial && line.busy.contains(&lane) {
                    return Ok(());
                }
                let Some(new) = line.batches[number].publications.pop_front() else { break };
                self.send(line, number, lane, new).await?;
            }
        }
        line.answer();
        Ok(())
    }

    async fn send(
        &mut self,
        line: &mut Line,
        number: usize,
        lane: String,
        new: Publication,
    ) -> std::result::Result<(), Failure> {
        let slot = line.batches[number].slot();
        let key = new.key;
        let live = line.view.retention.of(&new.envelope.topic).is_live();
        let data = new.envelope.data.len();
        let max = self.shared.config.max_payload.min(line.session.max_payload);
        match self.unsettled.get(key) {
            None => {
                // What is sent again comes before what is new.
                line.resent.remove(&lane);
            }
            Some(Known { published: Some(published), .. }) if line.still_holds(&published) => {
                line.give(number, slot, published);
                return Ok(());
            }
            Some(_) if live => {}
            Some(Known { left_at, .. }) => {
                // The server forgets over a restart what it has trimmed: the log itself is asked.
                if let Some(seq) = self.stored_before(line, &lane, &new, left_at).await? {
                    let position = Position::new(line.view.lineage.epoch, seq);
                    line.give(number, slot, Published::Duplicate(position));
                    return Ok(());
                }
            }
        }
        let id = message_id(&lane, new.envelope.id.as_ref(), key);
        let given = new.envelope.id.is_some().then(|| new.clone());
        let record = new.into_record(Instant::now());
        let (subject, headers, payload) = if live {
            (format!("{}{lane}", self.shared.names.live()), None, wire::encode(&record))
        } else {
            self.last = self.last.max(self.shared.clock.now());
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", id.as_str());
            let body = body::encode(self.last, line.view.lineage.epoch, &record);
            (format!("{}{lane}", line.view.prefix), Some(headers), body)
        };
        let size = payload.len() + subject.len() * 2 + id.len() + AROUND;
        let largest = line.view.limits.largest.unwrap_or(usize::MAX).min(line.session.max_payload);
        if data > max || size > largest {
            let max = max.min(largest.saturating_sub(size - data));
            line.give(number, slot, Published::Rejected(Rejection::TooLarge { size: data, max }));
            return Ok(());
        }
        let reply =
            format!("{}.{}", line.inbox, line.first + crate::number::count(line.flying.len()));
        // Before it leaves: what the log gives out from now on may lie above.
        let reached = self.shared.reached.load(Ordering::Acquire);
        let writer = &line.session.writer;
        match headers {
            Some(headers) => {
                writer.publish_with_reply_and_headers(subject, reply, headers, payload).await?;
            }
            None => {
                writer.publish(subject, payload).await?;
                // Comes back behind it: the server has taken it.
                writer.publish(reply, Bytes::new()).await?;
            }
        }
        line.batches[number].left(slot, reached);
        line.bytes += size;
        let lane = line.serial.then_some(lane);
        line.busy.extend(lane.clone());
        line.flying.push_back(Some(Flying {
            batch: line.first_batch + crate::number::count(number),
            slot,
            size,
            lane,
            given,
            live,
            reached,
            left: Instant::now(),
        }));
        Ok(())
    }

    /// Where a publication that is sent again is in the log, if it was stored.
    async fn stored_before(
        &self,
        line: &mut Line,
        lane: &str,
        new: &Publication,
        left_at: u64,
    ) -> std::result::Result<Option<u64>, Failure> {
        if !line.resent.contains_key(lane) {
            let state = self.shared.look(&line.session).await?;
            let mut kept = Kept::default();
            page::in_lane(&self.shared, &line.session, &state, lane, false, |found| {
                let record = Body::parse(found.payload).and_then(|body| body.record().ok());
                let key = record.map(|record| record.origin);
                kept.push(found.seq, key);
            })
            .await?;
            line.resent.insert(lane.to_owned(), kept);
        }
        let kept = line.resent.get(lane);
        Ok(kept.and_then(|kept| kept.stored(new.key, left_at, &line.view.limits)))
    }

    /// Takes an acknowledgement.
    fn landed(&self, line: &mut Line, ack: &Message) -> std::result::Result<(), Failure> {
        let number = ack.subject.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
        let at = number.and_then(|number| usize::try_from(number.checked_sub(line.first)?).ok());
        let Some(flying) = at.and_then(|at| line.flying.get_mut(at)?.take()) else {
            return Ok(());
        };
        while matches!(line.flying.front(), Some(None)) {
            line.flying.pop_front();
            line.first += 1;
        }
        line.bytes -= flying.size;
        if let Some(lane) = &flying.lane {
            line.busy.remove(lane);
        }
        let number = usize::try_from(flying.batch - line.first_batch).unwrap_or(usize::MAX);
        if flying.live {
            line.give(number, flying.slot, Published::Live);
            line.answer();
            return Ok(());
        }
        let epoch = line.view.lineage.epoch;
        let published = match Ack::read(ack) {
            Ok(Ack { seq, duplicate: false, .. }) => {
                if seq <= flying.reached {
                    // The log was cut back under this link, by hand: it is another one now.
                    line.session.settled.store(false, Ordering::Release);
                    return Err(Failure::of_link("the log lost its end").in_doubt());
                }
                self.shared.note_reached(seq);
                Published::Stored(Position::new(epoch, seq))
            }
            Ok(Ack { seq, .. }) => {
                let position = Position::new(epoch, seq);
                match flying.given {
                    Some(new) => {
                        // Asked of the log beside everything else.
                        let (shared, session) =
                            (Arc::clone(&self.shared), Arc::clone(&line.session));
                        let (batch, slot) = (flying.batch, flying.slot);
                        line.compared.push(Box::pin(async move {
                            let same = is_same(&shared, &session, seq, &new).await;
                            let published = same.map(|same| match new.envelope.id {
                                Some(id) if !same => {
                                    Published::Rejected(Rejection::IdConflict { id, position })
                                }
                                _ => Published::Duplicate(position),
                            });
                            (batch, slot, published)
                        }));
                        return Ok(());
                    }
                    None => Published::Duplicate(position),
                }
            }
            Err(failure) => {
                // Those on their way go on.
                line.refused.get_or_insert_with(|| failure.clone());
                if failure.absent {
                    line.session.settled.store(false, Ordering::Release);
                }
                if let Some(batch) = line.batches.get_mut(number) {
                    batch.refuse(flying.slot, failure);
                }
                line.answer();
                return Ok(());
            }
        };
        line.give(number, flying.slot, published);
        line.answer();
        Ok(())
    }
}

/// Whether what the log has under an id is this message.
async fn is_same(
    shared: &Shared,
    session: &Session,
    seq: u64,
    new: &Publication,
) -> std::result::Result<bool, Failure> {
    let Some(entry) = page::at(shared, session, seq).await? else {
        // It was trimmed, and nobody can tell any more.
        return Ok(true);
    };
    let (old, envelope) = (&entry.record, &new.envelope);
    let same = old.envelope.data == envelope.data && old.envelope.event == envelope.event;
    Ok(old.origin == new.key || same)
}

impl Line {
    fn has_room(&self) -> bool {
        self.refused.is_none()
            && self.flying.len() < FLYING
            && self.bytes <= BYTES
            && self.batches.back().is_none_or(|batch| batch.publications.is_empty())
    }

    fn deadline(&self, timeout: std::time::Duration) -> Instant {
        let oldest = self.flying.iter().flatten().next();
        oldest.map_or_else(
            || Instant::now() + std::time::Duration::from_secs(3600),
            |f| f.left + timeout,
        )
    }

    /// Whether an answer of an earlier link is still true: what it speaks of is in the log.
    fn still_holds(&self, published: &Published) -> bool {
        match published {
            Published::Stored(position) | Published::Duplicate(position) => {
                let place = self.view.lineage.locate(*position, u64::MAX);
                matches!(place, Place::At { .. })
            }
            Published::Live => true,
            // Asked again: what is refused may fit by now.
            _ => false,
        }
    }

    fn give(&mut self, number: usize, slot: usize, published: Published) {
        if let Some(batch) = self.batches.get_mut(number) {
            batch.give(slot, published);
        }
    }

    /// Answers the batches at the front that are done.
    fn answer(&mut self) {
        while self.batches.front().is_some_and(Batch::is_done) {
            let Some(batch) = self.batches.pop_front() else { return };
            self.first_batch += 1;
            batch.answer(None);
        }
    }
}
