//! A hand on the cable between a node and its engine.

mod cabled;
mod pump;
mod state;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tavern_backend::{Bus, Entry, FeedEvent, HealthCell, Position, Result, TopicFilter};
use tokio::sync::{Notify, watch};

pub use cabled::Cabled;
use state::{Reads, State};

/// The hand: cuts, heals, loses, repeats, shuffles and delays what goes through a [`Cabled`]
/// backend, and counts what is asked of it.
///
/// All clones are the same hand. What arrives while the link is cut is lost, as on a real one.
#[derive(Clone)]
pub struct Cable {
    shared: Arc<Shared>,
    /// Beside what the tasks share: a node that is dropped takes its backend with it at once.
    bus: Bus,
}

/// How often each call was made since the start, failed ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// `publish`.
    pub publish: u64,
    /// Publications handed to `publish`.
    pub publications: u64,
    /// `subscribe`.
    pub subscribe: u64,
    /// `unsubscribe`.
    pub unsubscribe: u64,
    /// `read`.
    pub read: u64,
    /// `find`.
    pub find: u64,
    /// `head`.
    pub head: u64,
    /// Pushes that this cable swallowed.
    pub swallowed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    publish: AtomicU64,
    publications: AtomicU64,
    subscribe: AtomicU64,
    unsubscribe: AtomicU64,
    read: AtomicU64,
    find: AtomicU64,
    head: AtomicU64,
    swallowed: AtomicU64,
}

struct Shared {
    health: HealthCell,
    counts: Counts,
    /// Guards what the hand does now; never held across an await.
    state: Mutex<State>,
    /// Wakes the pump.
    wake: Notify,
    /// Counts changes of what waits for the hand: held reads and subscribes look again.
    gates: watch::Sender<u64>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state());
        self.wake.notify_one();
        self.gates.send_modify(|n| *n += 1);
        value
    }
}

impl fmt::Debug for Cable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cable").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl Cable {
    /// Cuts the link: calls fail, pushes are lost, health is down, the feed says so.
    ///
    /// A publish that is at the engine at that moment loses its answer.
    pub fn cut(&self) {
        let cut = self.shared.change(State::cut);
        if cut {
            self.shared.health.set_down("the cable is cut");
        }
    }

    /// Mends the link: interest is confirmed again, then the feed says so and health is up.
    ///
    /// # Errors
    ///
    /// Whatever the engine answers; the link is cut again then.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the link may be half mended. Heal again.
    pub async fn heal(&self) -> Result<()> {
        let filters = self.shared.change(|state| {
            state.up = true;
            state.interest.iter().cloned().collect::<Vec<_>>()
        });
        match self.confirm(&filters).await {
            Ok(head) => {
                self.shared.change(|state| state.ready.push(FeedEvent::LinkRestored { head }));
                self.shared.health.set_up();
                Ok(())
            }
            Err(error) => {
                self.cut();
                Err(error)
            }
        }
    }

    async fn confirm(&self, filters: &[TopicFilter]) -> Result<Position> {
        if filters.is_empty() {
            return Ok(self.bus.head().await?.position);
        }
        self.bus.add_interest(filters).await
    }

    /// Loses the next `n` messages pushed, with the link up.
    pub fn lose_next(&self, n: usize) {
        self.shared.change(|state| state.lose_next = n);
    }

    /// Loses each push that `which` says, until [`Cable::lose_nothing`].
    pub fn lose(&self, which: impl Fn(&FeedEvent) -> bool + Send + Sync + 'static) {
        self.shared.change(|state| state.lose_if = Some(Box::new(which)));
    }

    /// Loses one push in `n` at random, repeatable by `seed`.
    pub fn lose_one_in(&self, n: u32, seed: u64) {
        let rng = Mutex::new(fastrand::Rng::with_seed(seed));
        self.lose(move |_| rng.lock().unwrap_or_else(PoisonError::into_inner).u32(0..n) == 0);
    }

    /// Ends all losing of pushes.
    pub fn lose_nothing(&self) {
        self.shared.change(|state| {
            state.lose_if = None;
            state.lose_next = 0;
        });
    }

    /// Pushes the next `n` messages twice.
    pub fn duplicate_next(&self, n: usize) {
        self.shared.change(|state| state.duplicate_next = n);
    }

    /// Shuffles pushes within windows of this many, repeatable by `seed`; 1 ends it. A window that
    /// does not fill is pushed on after a moment.
    pub fn reorder(&self, window: usize, seed: u64) {
        self.shared.change(|state| state.shuffle(window, seed));
    }

    /// Holds pushes back: the node lags.
    pub fn hold(&self) {
        self.shared.change(|state| state.holding = true);
    }

    /// Pushes what was held back, and holds no more.
    pub fn release(&self) {
        self.shared.change(State::release);
    }

    /// Holds requests for interest back before they reach the engine: `subscribe` hangs meanwhile.
    pub fn hold_subscribes(&self, hold: bool) {
        self.shared.change(|state| state.hold_subscribes = hold);
    }

    /// The next `n` publishes are done at the engine and their answers are lost.
    pub fn lose_answers(&self, n: usize) {
        self.shared.change(|state| state.lose_answers = n);
    }

    /// The next `n` publishes fail before they reach the engine.
    pub fn fail_publishes(&self, n: usize) {
        self.shared.change(|state| state.fail_publishes = n);
    }

    /// The next `n` reads of history fail.
    pub fn fail_reads(&self, n: usize) {
        self.shared.change(|state| state.reads = Reads::Fail(n));
    }

    /// All reads of history hang until [`Cable::mend_reads`].
    pub fn hang_reads(&self) {
        self.shared.change(|state| state.reads = Reads::Hang);
    }

    /// Reads of history work again; those that hang go on.
    pub fn mend_reads(&self) {
        self.shared.change(|state| state.reads = Reads::Work);
    }

    /// Makes the entries that `which` says undecodable, pushed or read.
    pub fn spoil(&self, which: impl Fn(&Entry) -> bool + Send + Sync + 'static) {
        self.shared.change(|state| state.spoil = Some(Arc::new(which)));
    }

    /// How often each call was made.
    #[must_use]
    pub fn calls(&self) -> Calls {
        let counts = &self.shared.counts;
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Calls {
            publish: read(&counts.publish),
            publications: read(&counts.publications),
            subscribe: read(&counts.subscribe),
            unsubscribe: read(&counts.unsubscribe),
            read: read(&counts.read),
            find: read(&counts.find),
            head: read(&counts.head),
            swallowed: read(&counts.swallowed),
        }
    }

    /// What the node has asked to hear of and not taken back: its real interest.
    #[must_use]
    pub fn interest(&self) -> BTreeSet<TopicFilter> {
        self.shared.state().interest.clone()
    }

    /// How many pushes wait in the hand: held back, or not taken by the node yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.state().waiting()
    }

    /// Whether the link is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.state().up
    }
}

/// How long an unfilled window of [`Cable::reorder`] waits for more.
const WINDOW_WAITS: Duration = Duration::from_millis(20);
