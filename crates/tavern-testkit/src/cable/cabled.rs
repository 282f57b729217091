//! The backend with a cable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tavern_backend::{
    Append, Backend, BackendInfo, Bus, Entry, Error, Feed, Head, HealthCell, HealthWatch, Lane,
    MessageId, Page, Position, Published, ReadQuery, Result, Tasks, TopicFilter,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::DropGuard;

use super::pump::{mirror_health, pump};
use super::{Cable, Counts, Reads, Shared, State};

/// A backend behind a cable that a test has its hand on.
///
/// ```
/// # use tavern_backend::{Backend, Bus, Result};
/// # use tavern_testkit::Cabled;
/// # async fn example(backend: impl Backend) -> Result<()> {
/// let (cabled, cable) = Cabled::new(backend);
/// let bus = Bus::new(cabled);
/// cable.cut();
/// assert!(bus.head().await.is_err() && !bus.healthy());
/// cable.heal().await?;
/// assert!(bus.head().await.is_ok() && bus.healthy());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cabled {
    info: BackendInfo,
    cable: Cable,
    tasks: Tasks,
    /// Ends the tasks of one that is dropped and not closed.
    _ends: DropGuard,
}

impl Cabled {
    /// Puts a cable between `backend` and who uses it, and returns both ends.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(backend: impl Backend) -> (Self, Cable) {
        Self::from_bus(Bus::new(backend))
    }

    /// The same for a backend that is a [`Bus`] already.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn from_bus(bus: Bus) -> (Self, Cable) {
        let health = bus.health().get();
        let health = if health.up {
            HealthCell::up()
        } else {
            HealthCell::down(health.reason.unwrap_or_else(|| Arc::from("not connected yet")))
        };
        let info = bus.info().clone();
        let shared = Arc::new(Shared {
            health,
            counts: Counts::default(),
            state: Mutex::new(State::new()),
            wake: Notify::new(),
            gates: watch::Sender::new(0),
        });
        let tasks = Tasks::new();
        tasks.spawn(mirror_health(Arc::clone(&shared), bus.health(), tasks.token().clone()));
        let cable = Cable { shared, bus };
        let ends = tasks.token().clone().drop_guard();
        (Self { info, cable: cable.clone(), tasks, _ends: ends }, cable)
    }

    fn shared(&self) -> &Shared {
        &self.cable.shared
    }

    /// Fails where the link is cut; else says how often it was.
    fn through(&self, call: &AtomicU64) -> Result<u64> {
        call.fetch_add(1, Ordering::Relaxed);
        let state = self.shared().state();
        if state.up { Ok(state.cuts) } else { Err(Error::unavailable("the cable is cut")) }
    }

    /// Fails where the link was cut since.
    fn back<T>(&self, cuts: u64, answer: T) -> Result<T> {
        let state = self.shared().state();
        if state.cuts == cuts { Ok(answer) } else { Err(Error::unavailable("the cable was cut")) }
    }

    /// Waits while the hand holds a call back, or the link is cut under it.
    async fn gate(&self, cuts: u64, waits: impl Fn(&State) -> bool) -> Result<()> {
        let mut gates = self.shared().gates.subscribe();
        loop {
            gates.borrow_and_update();
            {
                let state = self.shared().state();
                if state.cuts != cuts {
                    return Err(Error::unavailable("the cable was cut"));
                }
                if !waits(&state) {
                    return Ok(());
                }
            }
            if gates.changed().await.is_err() {
                return Err(Error::Closed);
            }
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for Cabled {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn health(&self) -> HealthWatch {
        self.shared().health.watch()
    }

    async fn publish(&self, append: Append) -> Result<Vec<Published>> {
        let n = u64::try_from(append.publications.len()).unwrap_or(u64::MAX);
        self.shared().counts.publications.fetch_add(n, Ordering::Relaxed);
        let cuts = self.through(&self.shared().counts.publish)?;
        if take_one(&mut self.shared().state().fail_publishes) {
            return Err(Error::unavailable("the cable failed the publish"));
        }
        let published = self.cable.bus.append(append).await?;
        let mut state = self.shared().state();
        if state.cuts != cuts || take_one(&mut state.lose_answers) {
            return Err(Error::outcome_unknown("the cable lost the answer"));
        }
        Ok(published)
    }

    async fn subscribe(&self, filters: &[TopicFilter]) -> Result<Position> {
        let cuts = self.through(&self.shared().counts.subscribe)?;
        // Before it is confirmed: a caller that gives up half-way must take it out again.
        self.shared().state().interest.extend(filters.iter().cloned());
        self.gate(cuts, |state| state.hold_subscribes).await?;
        let head = self.cable.bus.add_interest(filters).await?;
        self.back(cuts, head)
    }

    async fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        let cuts = self.through(&self.shared().counts.unsubscribe)?;
        self.cable.bus.remove_interest(filters).await?;
        let mut state = self.shared().state();
        for filter in filters {
            state.interest.remove(filter);
        }
        drop(state);
        self.back(cuts, ())
    }

    fn feed(&self) -> Result<Feed> {
        let inner = self.cable.bus.feed()?;
        let (sender, feed) = Feed::channel(256);
        let shared = Arc::clone(&self.cable.shared);
        self.tasks.spawn(pump(shared, inner, sender, self.tasks.token().clone()));
        Ok(feed)
    }

    async fn read(&self, query: ReadQuery) -> Result<Page> {
        let cuts = self.through(&self.shared().counts.read)?;
        if let Reads::Fail(n) = &mut self.shared().state().reads
            && take_one(n)
        {
            return Err(Error::unavailable("the cable failed the read"));
        }
        self.gate(cuts, |state| matches!(state.reads, Reads::Hang)).await?;
        let mut page = self.cable.bus.read(query).await?;
        let spoil = self.shared().state().spoil.clone();
        if let Some(spoil) = spoil {
            let (bad, good): (Vec<Arc<Entry>>, _) = page.entries.drain(..).partition(|e| spoil(e));
            page.entries = good;
            page.undecodable.extend(bad.iter().map(|e| (e.position.seq, Some(e.lane()))));
            page.undecodable.sort_unstable_by_key(|(seq, _)| *seq);
        }
        self.back(cuts, page)
    }

    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        let cuts = self.through(&self.shared().counts.find)?;
        let found = self.cable.bus.find(lane, id).await?;
        self.back(cuts, found)
    }

    async fn head(&self) -> Result<Head> {
        let cuts = self.through(&self.shared().counts.head)?;
        let head = self.cable.bus.head().await?;
        self.back(cuts, head)
    }

    fn rebuild(&self, reason: &str) {
        self.cable.bus.rebuild(reason);
    }

    async fn close(&self) -> Result<()> {
        let closed = self.cable.bus.close().await;
        self.shared().health.set_closed();
        self.tasks.close().await;
        closed
    }
}

fn take_one(left: &mut usize) -> bool {
    let takes = *left > 0;
    *left -= usize::from(takes);
    takes
}
