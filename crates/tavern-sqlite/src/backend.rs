//! The backend: what the contract asks for, on top of the threads.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tavern_backend::{
    Append, Backend, BackendInfo, Error, Feed, Head, HealthWatch, Lane, MessageId, NodeId, Page,
    Position, Published, ReadQuery, Result, Retention, TopicFilter,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::config::SqliteConfig;
use crate::feed::Feeder;
use crate::network;
use crate::place::Place;
use crate::reader::{Ask, Question, Reader};
use crate::shared::Shared;
use crate::threads::Threads;
use crate::vitals::Part;
use crate::writer::{AppendRequest, Claim, Request, Writer};

/// A node of a namespace that lies in one SQLite file.
///
/// It runs four threads: one writes, one follows the log, two read. They end with
/// [`close`](Backend::close); if the value is dropped without it, they end soon after.
pub struct SqliteBackend {
    shared: Arc<Shared>,
    info: BackendInfo,
    mismatch: Option<Retention>,
    /// Taken once.
    feed: Mutex<Option<Feed>>,
    writer: Queue<Request>,
    readers: Vec<Queue<Question>>,
    next_reader: AtomicUsize,
    threads: Threads,
}

impl fmt::Debug for SqliteBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteBackend").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Requests that wait for the writer.
const WRITES: usize = 4096;
/// Questions that wait for a reader.
const READS: usize = 1024;
/// Threads that read.
const READERS: usize = 2;
/// Pages that wait for the reader of the feed.
const PAGES: usize = 16;

impl SqliteBackend {
    /// Opens the log in `config.path`, and creates it if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a configuration that cannot work, a network file system among them;
    /// [`Error::Incompatible`] if the file is not a log this version can use;
    /// [`Error::Unavailable`] if it cannot be opened or is locked for longer than the lock timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves at most an empty log behind.
    pub async fn open(config: SqliteConfig) -> Result<Self> {
        config.check()?;
        let place = Place::resolve(&config.path)?;
        network::refuse(&place.db)?;
        let node = NodeId::random()?;
        let mut info = BackendInfo::new("sqlite", place.db.display().to_string(), node);
        info.namespace.clone_from(&config.namespace);
        info.max_payload = config.max_payload;
        info.pushes = false;
        info.durability = config.durability.explain();

        let shared = Arc::new(Shared::new(config, place, node));
        let (threads, mut starting) = Threads::new();
        // Until the value is there, this ends the threads of an attempt that failed or was dropped.
        let stop = StopOnDrop(Some(Arc::clone(&shared)));

        let (opened, open) = oneshot::channel();
        let (writer, inbox) = Queue::new(WRITES);
        let theirs = Arc::clone(&shared);
        starting.spawn("writer", move || {
            let open = Writer::new(theirs, inbox).and_then(|mut writer| {
                let mismatch = writer.open()?;
                Ok((writer, mismatch))
            });
            match open {
                Ok((writer, mismatch)) => {
                    if opened.send(Ok(mismatch)).is_ok() {
                        writer.run();
                    }
                }
                Err(failure) => drop(opened.send(Err(failure))),
            }
        })?;
        let mismatch = wait(open, shared.config.lock_timeout, || {
            Error::unavailable("another process holds the writers' lock of the database")
        })
        .await??;

        let (sender, feed) = Feed::channel(PAGES);
        let (started, start) = oneshot::channel();
        let theirs = Arc::clone(&shared);
        starting.spawn("feed", move || match Feeder::new(theirs, sender) {
            Ok(feeder) => {
                if started.send(Ok(())).is_ok() {
                    feeder.run();
                }
            }
            Err(failure) => drop(started.send(Err(failure))),
        })?;
        let mut readers = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let (reader, inbox) = Queue::new(READS);
            let theirs = Reader::new(Arc::clone(&shared), inbox);
            starting.spawn("reader", move || theirs.run())?;
            readers.push(reader);
        }
        wait(start, shared.config.lock_timeout, || {
            Error::unavailable("the database did not answer in time")
        })
        .await??;

        stop.disarm();
        Ok(Self {
            shared,
            info,
            mismatch,
            feed: Mutex::new(Some(feed)),
            writer,
            readers,
            next_reader: AtomicUsize::new(0),
            threads,
        })
    }

    /// The rules of the log, if they are not those this node was configured with. The log's are
    /// followed, which a warning says at [`open`](Self::open);
    /// [`SqliteConfig::apply_retention`] replaces them.
    #[must_use]
    pub fn retention_mismatch(&self) -> Option<&Retention> {
        self.mismatch.as_ref()
    }

    fn check_open(&self) -> Result<()> {
        if self.shared.stop.is_told() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Asks a reader, and waits for its answer.
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T>>) -> Ask) -> Result<T> {
        self.check_open()?;
        let limit = self.shared.config.lock_timeout;
        let next = self.next_reader.fetch_add(1, Ordering::Relaxed) % self.readers.len();
        let reader = &self.readers[next];
        let busy = || Error::unavailable("the database does not answer in time");
        let permit = timeout(limit, reader.permit()).await.map_err(|_| busy())??;
        let (reply, answer) = oneshot::channel();
        reader.send(Question { ask: ask(reply), _permit: Some(permit) })?;
        wait(answer, limit, busy).await?
    }
}

impl Backend for SqliteBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn health(&self) -> HealthWatch {
        self.shared.vitals.watch()
    }

    async fn publish(&self, append: Append) -> Result<Vec<Published>> {
        self.check_open()?;
        let limit = self.shared.config.lock_timeout;
        let queued = || {
            self.shared.vitals.fails(Part::Writer, QUEUE_STUCK);
            Error::unavailable(QUEUE_STUCK)
        };
        let permit = timeout(limit, self.writer.permit()).await.map_err(|_| queued())??;
        let claim = Arc::new(Claim::default());
        let (reply, mut answer) = oneshot::channel();
        let theirs = Arc::clone(&claim);
        self.writer.send(Request::Append(AppendRequest {
            append,
            claim: theirs,
            reply,
            _permit: permit,
        }))?;
        match timeout(limit, &mut answer).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(_)) if claim.give_up() => return Err(Error::Closed),
            Ok(Err(_)) => return Err(Error::outcome_unknown("the writer ended")),
            Err(_) => {}
        }
        if claim.give_up() {
            self.shared.vitals.fails(Part::Writer, LOCK_STUCK);
            return Err(Error::unavailable(LOCK_STUCK));
        }
        // It was begun: a commit may take its time, but not for ever.
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::outcome_unknown("the writer ended")),
            Err(_) => {
                self.shared.vitals.fails(Part::Writer, DISK_STUCK);
                Err(Error::outcome_unknown(DISK_STUCK))
            }
        }
    }

    async fn subscribe(&self, filters: &[TopicFilter]) -> Result<Position> {
        self.check_open()?;
        // First the interest, then the head: see `feed.rs` for why that is exact.
        self.shared.interest.add(filters);
        Ok(self.ask(Ask::Head).await?.position)
    }

    async fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        self.check_open()?;
        self.shared.interest.remove(filters);
        Ok(())
    }

    fn feed(&self) -> Result<Feed> {
        self.check_open()?;
        self.feed.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Error::FeedTaken)
    }

    async fn read(&self, query: ReadQuery) -> Result<Page> {
        self.ask(|reply| Ask::Page(query, reply)).await
    }

    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        self.ask(|reply| Ask::Find(lane.clone(), id.clone(), reply)).await
    }

    async fn head(&self) -> Result<Head> {
        self.ask(Ask::Head).await
    }

    async fn close(&self) -> Result<()> {
        if self.shared.stop.tell() {
            self.shared.vitals.closed();
            self.writer.finish(Request::Stop);
            for reader in &self.readers {
                reader.finish(Question { ask: Ask::Stop, _permit: None });
            }
            drop(self.feed.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
        let limit = self.shared.config.lock_timeout;
        timeout(limit, self.threads.ended()).await.map_err(|_| {
            Error::unavailable(
                "a thread still waits for the lock that another process holds; it ends with that",
            )
        })
    }
}

impl Drop for SqliteBackend {
    fn drop(&mut self) {
        self.shared.stop.tell();
        self.shared.vitals.closed();
    }
}

const QUEUE_STUCK: &str = "too many messages wait for the database";
const LOCK_STUCK: &str = "another process holds the writers' lock of the database";
const DISK_STUCK: &str = "the database did not finish the commit in time";

/// A bounded queue from async callers to a thread.
#[derive(Debug)]
struct Queue<T> {
    sender: SyncSender<T>,
    /// A permit for each place but the last, which is for the word to stop.
    room: Arc<Semaphore>,
}

impl<T> Queue<T> {
    fn new(places: usize) -> (Self, std::sync::mpsc::Receiver<T>) {
        let (sender, inbox) = std::sync::mpsc::sync_channel(places + 1);
        (Self { sender, room: Arc::new(Semaphore::new(places)) }, inbox)
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.room).acquire_owned().await.map_err(|_| Error::Closed)
    }

    fn send(&self, request: T) -> Result<()> {
        // Who has a permit has a place: it can only fail when the thread has ended.
        self.sender.try_send(request).map_err(|_| Error::Closed)
    }

    /// Takes nothing more but this.
    fn finish(&self, last: T) {
        self.room.close();
        // It fails only when the thread has ended before.
        let _ = self.sender.try_send(last);
    }
}

async fn wait<T>(
    answer: oneshot::Receiver<T>,
    limit: Duration,
    late: impl FnOnce() -> Error,
) -> Result<T> {
    match timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(Error::Closed),
        Err(_) => Err(late()),
    }
}

/// Tells the threads to end unless it was disarmed.
struct StopOnDrop(Option<Arc<Shared>>);

impl StopOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.stop.tell();
        }
    }
}
