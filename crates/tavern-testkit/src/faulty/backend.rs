//! A backend that breaks one promise.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tavern_backend::{
    Append, Backend, BackendInfo, Bus, BusFeed, Epoch, Feed, FeedEvent, Head, HealthWatch, Lane,
    LiveMessage, MessageId, Page, Position, Published, ReadQuery, Result, Tasks, TopicFilter,
};
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use super::Fault;
use super::lies::{self, Memory};

#[derive(Debug)]
pub(super) struct Faulty {
    bus: Bus,
    fault: Fault,
    shared: Arc<Shared>,
    tasks: Tasks,
    _ends: DropGuard,
}

#[derive(Debug)]
struct Shared {
    fault: Fault,
    /// Guards what it remembers; never held across an await.
    memory: Mutex<Memory>,
    /// Where the pump is fed beside the engine's feed.
    feed: Mutex<Option<mpsc::Sender<Vec<FeedEvent>>>>,
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Faulty {
    pub(super) fn new(bus: Bus, fault: Fault) -> Self {
        let mut memory = Memory::default();
        if fault == Fault::OwnEpoch {
            memory.epoch = Some(Epoch::from_u64(bus.node().to_u64()));
        }
        let tasks = Tasks::new();
        let ends = tasks.token().clone().drop_guard();
        let shared = Arc::new(Shared { fault, memory: Mutex::new(memory), feed: Mutex::new(None) });
        Self { bus, fault, shared, tasks, _ends: ends }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory()
    }

    /// Answers without the engine where the fault says so.
    async fn refuse(&self, append: &Append) -> Result<Option<Vec<Published>>> {
        let n = append.publications.len();
        let lies = {
            let mut memory = self.memory();
            memory.batches += 1;
            memory.batches.is_multiple_of(2)
        };
        match self.fault {
            Fault::PretendsLive if lies => Ok(Some(vec![Published::Live; n])),
            Fault::LosesStored if lies && n > 0 => {
                let head = self.bus.head().await?.position;
                let lie = Position::new(head.epoch, head.seq + 1);
                Ok(Some(vec![Published::Stored(lie); n]))
            }
            _ => Ok(None),
        }
    }

    async fn share_ids(&self, append: Append) -> Result<Vec<Published>> {
        let mut all = Vec::new();
        for publication in append.publications {
            let (id, lane) = (publication.envelope.id.clone(), publication.envelope.lane());
            let other = id.as_ref().and_then(|id| self.memory().ids.get(id).cloned());
            if let Some((_, position)) = other.filter(|(first, _)| *first != lane) {
                all.push(Published::Duplicate(position));
                continue;
            }
            let one = Append { known: append.known, publications: vec![publication] };
            let published = self.bus.append(one).await?;
            if let (Some(id), [Published::Stored(position)]) = (id, published.as_slice()) {
                self.memory().ids.insert(id, (lane, *position));
            }
            all.extend(published);
        }
        Ok(all)
    }

    async fn tear(&self, append: Append) -> Result<Vec<Published>> {
        let mut all = Vec::new();
        for publication in append.publications {
            let one = Append { known: append.known, publications: vec![publication] };
            all.extend(self.bus.append(one).await?);
            tokio::task::yield_now().await;
        }
        Ok(all)
    }

    fn echo(&self, append: &Append, published: &[Published]) {
        let live = append.publications.iter().zip(published);
        let live = live.filter(|(_, p)| **p == Published::Live).map(|(publication, _)| {
            let envelope = publication.envelope.clone();
            FeedEvent::Live(LiveMessage { origin: publication.key, envelope })
        });
        let batch = live.collect::<Vec<_>>();
        let feed = self.shared.feed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = &*feed
            && feed.try_send(batch).is_err()
        {
            // A lost echo only makes a broken backend less so.
        }
    }
}

impl Backend for Faulty {
    fn info(&self) -> &BackendInfo {
        self.bus.info()
    }

    fn health(&self) -> HealthWatch {
        self.bus.health()
    }

    async fn publish(&self, mut append: Append) -> Result<Vec<Published>> {
        if let Some(lie) = self.refuse(&append).await? {
            return Ok(lie);
        }
        lies::publications(self.fault, &self.bus, &mut append);
        let mut published = match self.fault {
            Fault::SharesIds => self.share_ids(append).await?,
            Fault::TearsBatches => self.tear(append).await?,
            Fault::EchoesLive => {
                let published = self.bus.append(append.clone()).await?;
                self.echo(&append, &published);
                published
            }
            _ => self.bus.append(append).await?,
        };
        self.memory().published(self.fault, &mut published);
        Ok(published)
    }

    async fn subscribe(&self, filters: &[TopicFilter]) -> Result<Position> {
        let head = match self.fault {
            Fault::ConfirmsTooEarly => {
                let (bus, filters) = (self.bus.clone(), filters.to_vec());
                self.tasks.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    // The engine that fails here only breaks the promise for longer.
                    let _ = bus.add_interest(&filters).await;
                });
                self.bus.head().await?.position
            }
            Fault::LosesInterest => {
                let again = {
                    let known = &mut self.memory().interest;
                    let again = filters.iter().any(|filter| known.contains(filter));
                    known.extend(filters.iter().cloned());
                    again
                };
                if again {
                    self.bus.remove_interest(filters).await?;
                    self.bus.head().await?.position
                } else {
                    self.bus.add_interest(filters).await?
                }
            }
            _ => self.bus.add_interest(filters).await?,
        };
        Ok(match self.fault {
            Fault::ReusesEpoch | Fault::OwnEpoch => self.memory().position(head),
            _ => head,
        })
    }

    async fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        self.bus.remove_interest(filters).await
    }

    fn feed(&self) -> Result<Feed> {
        let feed = match (self.bus.feed(), self.fault) {
            (Err(_), Fault::FeedsTwice) => return Ok(Feed::channel(1).1),
            (feed, _) => feed?,
        };
        let (sender, out) = Feed::channel(256);
        *self.shared.feed.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
        let (shared, token) = (Arc::clone(&self.shared), self.tasks.token().clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = pump(&shared, feed, sender) => {}
            }
            // The feed ends when its last sender is gone.
            *shared.feed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        });
        Ok(out)
    }

    async fn read(&self, mut query: ReadQuery) -> Result<Page> {
        match self.fault {
            Fault::IgnoresFilters => query.filters = None,
            Fault::IgnoresLimits => query.limit = usize::MAX,
            _ => {}
        }
        let page = self.bus.read(query).await?;
        Ok(lies::page(self.fault, &mut self.memory(), page))
    }

    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        match self.fault {
            Fault::NeverFinds => Ok(None),
            _ => self.bus.find(lane, id).await,
        }
    }

    async fn head(&self) -> Result<Head> {
        let head = self.bus.head().await?;
        Ok(lies::head(self.fault, &mut self.memory(), head))
    }

    fn rebuild(&self, reason: &str) {
        self.bus.rebuild(reason);
    }

    async fn close(&self) -> Result<()> {
        match self.fault {
            Fault::SurvivesClose => return Ok(()),
            Fault::HangsOnClose => std::future::pending().await,
            _ => {}
        }
        let closed = self.bus.close().await;
        self.tasks.close().await;
        closed
    }
}

async fn pump(shared: &Shared, mut feed: BusFeed, out: mpsc::Sender<Vec<FeedEvent>>) {
    while let Some(batch) = feed.recv().await {
        let batch = {
            let mut memory = shared.memory();
            batch.into_iter().flat_map(|e| lies::pushed(shared.fault, &mut memory, e)).collect()
        };
        if out.send(batch).await.is_err() {
            return;
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if self.fault == Fault::PanicsOnDrop {
            // What a client library that spawns in `drop` does.
            drop(tokio::runtime::Handle::current());
        }
    }
}
