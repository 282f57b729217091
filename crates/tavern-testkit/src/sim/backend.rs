//! A node's way to the simulated engine.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tavern_backend::{
    Append, Backend, BackendInfo, Epoch, Error, Feed, FeedEvent, Head, HealthCell, HealthWatch,
    Lane, MessageId, Page, Position, Published, ReadQuery, Result, Tasks, TopicFilter,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::engine::{Engine, Link, State};
use super::weather::Fate;

/// How long a new link takes.
const REBUILDING: Duration = Duration::from_millis(30);

/// A backend whose engine, network and time are simulated.
pub(super) struct SimBackend {
    info: BackendInfo,
    engine: Engine,
    link: usize,
    tasks: Tasks,
    /// Guards both ends until they are taken.
    feed: Mutex<Option<(mpsc::Sender<Vec<FeedEvent>>, Feed)>>,
    _ends: DropGuard,
}

impl fmt::Debug for SimBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimBackend").field("link", &self.link).finish_non_exhaustive()
    }
}

/// A call as it stands on its way.
struct Way {
    engine: Engine,
    link: usize,
    cuts: u64,
    fate: Fate,
    there: Duration,
    back: Duration,
}

impl SimBackend {
    pub(super) fn new(info: BackendInfo, engine: Engine, link: usize, capacity: usize) -> Self {
        let tasks = Tasks::new();
        let ends = tasks.token().clone().drop_guard();
        let feed = Mutex::new(Some(Feed::channel(capacity)));
        Self { info, engine, link, tasks, feed, _ends: ends }
    }

    /// The way of a call that begins now.
    fn way(&self) -> Result<Way> {
        let mut state = self.engine.lock();
        let link = &mut state.links[self.link];
        if link.dead {
            return Err(Error::Closed);
        }
        if !link.up {
            return Err(Error::unavailable("the link is cut"));
        }
        let Link { weather, rng, cuts, .. } = link;
        let (there, back) = (weather.way(rng), weather.way(rng));
        let (fate, cuts) = (weather.fate(rng), *cuts);
        Ok(Way { engine: self.engine.clone(), link: self.link, cuts, fate, there, back })
    }

    /// A call that ends with who made it.
    async fn ask<T>(&self, does: impl FnOnce(&mut State) -> T) -> Result<T> {
        match self.way()?.go(does).await {
            Ok(answer) => Ok(answer),
            Err(Lost::Before(why) | Lost::After(why)) => Err(Error::unavailable(why)),
            Err(Lost::Dead) => Err(Error::Closed),
        }
    }

    /// A call that reaches the engine whatever becomes of who made it.
    async fn send<T: Send + 'static>(
        &self,
        does: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, Lost> {
        let way = self.way().map_err(|error| match error {
            Error::Closed => Lost::Dead,
            _ => Lost::Before("the link is cut"),
        })?;
        let (answers, answer) = oneshot::channel();
        self.engine.underway().spawn(async move {
            // Who asked may be gone.
            drop(answers.send(way.go(does).await));
        });
        answer.await.unwrap_or(Err(Lost::Dead))
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy)]
enum Lost {
    /// It never reached the engine, and its caller knows.
    Before(&'static str),
    /// It may have.
    After(&'static str),
    /// The node is gone.
    Dead,
}

impl Way {
    async fn go<T>(self, does: impl FnOnce(&mut State) -> T) -> Result<T, Lost> {
        let late = |late| if let Some(late) = late { late } else { Duration::ZERO };
        let (there, back) = match self.fate {
            Fate::LateThere(by) => (Some(by), None),
            Fate::LateBack(by) => (None, Some(by)),
            Fate::Answered | Fate::Refused | Fate::Mute => (None, None),
        };
        sleep(self.there + late(there)).await;
        if self.fate == Fate::Refused {
            return Err(Lost::Before("the engine refuses"));
        }
        let answer = {
            let mut state = self.engine.lock();
            self.holds(&state)?;
            if !state.up {
                return Err(Lost::Before("the engine is away"));
            }
            does(&mut state)
        };
        sleep(self.back + late(back)).await;
        self.holds(&self.engine.lock())?;
        if self.fate == Fate::Mute {
            return Err(Lost::After("the answer was lost"));
        }
        Ok(answer)
    }

    /// Whether the link is the one that the call began on.
    fn holds(&self, state: &State) -> Result<(), Lost> {
        match &state.links[self.link] {
            link if link.dead => Err(Lost::Dead),
            link if link.cuts != self.cuts => Err(Lost::After("the link was cut")),
            _ => Ok(()),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for SimBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn health(&self) -> HealthWatch {
        let mut state = self.engine.lock();
        let link = &mut state.links[self.link];
        let cell = if link.up { HealthCell::up() } else { HealthCell::down("the link is cut") };
        if link.dead {
            cell.set_closed();
        }
        let watch = cell.watch();
        link.cells.push(Arc::new(cell));
        watch
    }

    async fn publish(&self, append: Append) -> Result<Vec<Published>> {
        let (engine, link, sent) = (self.engine.clone(), self.link, Instant::now());
        let asked = append.publications.len();
        let sending = self.send(move |state| {
            let fresh = Epoch::from_u64(state.rng.u64(..));
            let newer = state.links[link].newer;
            let form = state.form(newer, 10);
            let now = (state.now(), engine.trace().now());
            let (published, outgoing) = state.log.append(append, fresh, sent, form, now);
            state.push(link, &outgoing);
            let head = engine.trace().at(state.log.position());
            engine.trace().say(format_args!("link {link}: appends {asked}, head {head}"));
            published
        });
        match sending.await {
            Ok(published) => {
                let now = self.engine.trace().now();
                let mut state = self.engine.lock();
                for published in &published {
                    if let Published::Stored(at) | Published::Duplicate(at) = published {
                        state.links[self.link].told.position(now, *at);
                    }
                }
                Ok(published)
            }
            Err(Lost::Before(why)) => Err(Error::unavailable(why)),
            Err(Lost::After(why)) => Err(Error::outcome_unknown(why)),
            Err(Lost::Dead) => Err(Error::Closed),
        }
    }

    async fn subscribe(&self, filters: &[TopicFilter]) -> Result<Position> {
        let (link, filters) = (self.link, filters.to_vec());
        let sending = self.send(move |state| {
            state.links[link].interest.extend(filters);
            state.log.position()
        });
        match sending.await {
            Ok(head) => Ok(head),
            Err(Lost::Before(why) | Lost::After(why)) => Err(Error::unavailable(why)),
            Err(Lost::Dead) => Err(Error::Closed),
        }
    }

    async fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        let (link, filters) = (self.link, filters.to_vec());
        let sending = self.send(move |state| {
            for filter in &filters {
                state.links[link].interest.remove(filter);
            }
        });
        match sending.await {
            Ok(()) => Ok(()),
            Err(Lost::Before(why) | Lost::After(why)) => Err(Error::unavailable(why)),
            Err(Lost::Dead) => Err(Error::Closed),
        }
    }

    fn feed(&self) -> Result<Feed> {
        let taken = self.feed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (sender, feed) = taken.ok_or(Error::FeedTaken)?;
        let (engine, closed) = (self.engine.clone(), self.tasks.token().clone());
        self.tasks.spawn(pipe(engine, self.link, sender, closed));
        Ok(feed)
    }

    async fn read(&self, query: ReadQuery) -> Result<Page> {
        let link = self.link;
        let at = self.engine.trace().clone();
        self.ask(move |state| {
            let (now, newer) = (state.now(), state.links[link].newer);
            state.log.sweep(now, at.now());
            state.log.read(&query, newer)
        })
        .await
    }

    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        self.ask(|state| state.log.find(lane, id)).await
    }

    async fn head(&self) -> Result<Head> {
        let trace = self.engine.trace().clone();
        let asked = self.ask(|state| {
            let now = state.now();
            state.log.sweep(now, trace.now());
            state.log.describe(now)
        });
        let head = asked.await?;
        let now = self.engine.trace().now();
        let mut state = self.engine.lock();
        let told = &mut state.links[self.link].told;
        told.position(now, head.position);
        told.lineage(now, &head.lineage);
        Ok(head)
    }

    fn rebuild(&self, reason: &str) {
        self.engine.trace().say(format_args!("link {}: to be rebuilt: {reason}", self.link));
        let (engine, link) = (self.engine.clone(), self.link);
        engine.cut(link);
        self.engine.underway().spawn(async move {
            sleep(REBUILDING).await;
            engine.lock().links[link].weather.deaf = false;
            engine.heal(link);
        });
    }

    async fn close(&self) -> Result<()> {
        self.engine.kill(self.link);
        self.tasks.close().await;
        Ok(())
    }
}

/// Hands what arrives to the node. What finds no room is lost, but for notices.
async fn pipe(
    engine: Engine,
    link: usize,
    sender: mpsc::Sender<Vec<FeedEvent>>,
    closed: CancellationToken,
) {
    let wake = Arc::clone(&engine.lock().links[link].wake);
    loop {
        let arrived = {
            let now = engine.trace().now();
            let mut state = engine.lock();
            if state.links[link].dead {
                return;
            }
            state.links[link].arrived(now)
        };
        match arrived {
            Ok(batch) => {
                let (notices, pushes): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_notice);
                if !notices.is_empty() && sender.send(notices).await.is_err() {
                    return;
                }
                if !pushes.is_empty() && sender.try_send(pushes).is_err() && sender.is_closed() {
                    return;
                }
            }
            Err(due) => tokio::select! {
                biased;
                () = closed.cancelled() => return,
                () = wake.notified() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            },
        }
    }
}

fn is_notice(event: &FeedEvent) -> bool {
    matches!(event, FeedEvent::LinkLost { .. } | FeedEvent::LinkRestored { .. })
}
