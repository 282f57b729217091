//! The simulated engine: one log, and the links of the nodes to it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tavern_backend::{
    BackendInfo, Epoch, FeedEvent, FilterSet, HealthCell, Lineage, LogTime, NodeId, Position, Tasks,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::archive::Archive;
use super::backend::SimBackend;
use super::log::{Log, Outgoing, Rules};
use super::trace::Trace;
use super::version::Form;
use super::weather::Weather;

/// Where the log's clock begins: far from every node's own.
const DAWN: LogTime = LogTime::from_millis(1_000_000_000_000);

/// The engine that all nodes of a simulation share, cheap to clone.
#[derive(Clone)]
pub(super) struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    trace: Trace,
    max_payload: usize,
    /// Calls that are on their way go on when their node is gone.
    underway: Tasks,
    /// Guards the log and all links; never held across an await.
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) log: Log,
    /// Whether it runs.
    pub(super) up: bool,
    /// What the log's clock is off by.
    pub(super) skew: i64,
    /// In the order they were opened; those of nodes that are gone stay.
    pub(super) links: Vec<Link>,
    pub(super) rng: Rng,
    started: Instant,
}

/// One node's link.
pub(super) struct Link {
    /// Whether the node runs the newer version.
    pub(super) newer: bool,
    pub(super) interest: FilterSet,
    pub(super) up: bool,
    pub(super) dead: bool,
    /// How often it was cut: a call that spans a cut has lost its answer.
    pub(super) cuts: u64,
    pub(super) weather: Weather,
    pub(super) rng: Rng,
    /// What is on its way to the node, by the time it arrives.
    pub(super) queue: BTreeMap<(Instant, u64), FeedEvent>,
    sent: u64,
    latest: Instant,
    /// One for each who watches: of several that wait for one cell, nobody can tell who is woken
    /// first.
    pub(super) cells: Vec<Arc<HealthCell>>,
    /// What the node was told, for the oracle.
    pub(super) told: Told,
    pub(super) wake: Arc<Notify>,
}

/// What a node was told of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// Each position that was the highest of its epoch when it was told.
    pub(super) positions: Vec<(Duration, Position)>,
    pub(super) lineages: Vec<(Duration, Arc<Lineage>)>,
}

impl Told {
    pub(super) fn position(&mut self, now: Duration, position: Position) {
        let known = self.positions.iter().rev().find(|(_, p)| p.epoch == position.epoch);
        if known.is_none_or(|(_, known)| known.seq < position.seq) {
            self.positions.push((now, position));
        }
    }

    pub(super) fn lineage(&mut self, now: Duration, lineage: &Arc<Lineage>) {
        if self.lineages.last().is_none_or(|(_, last)| last != lineage) {
            self.lineages.push((now, Arc::clone(lineage)));
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("head", &self.lock().log.position()).finish_non_exhaustive()
    }
}

impl Engine {
    pub(super) fn new(rules: Rules, mut rng: Rng, trace: Trace) -> Self {
        let epoch = Epoch::from_u64(rng.u64(..));
        let max_payload = rules.max_payload;
        let log = Log::new(rules, epoch, DAWN);
        let (links, started) = (Vec::new(), Instant::now());
        let state = Mutex::new(State { log, up: true, skew: 0, links, rng, started });
        Self { shared: Arc::new(Shared { trace, max_payload, underway: Tasks::new(), state }) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trace(&self) -> &Trace {
        &self.shared.trace
    }

    pub(super) fn underway(&self) -> &Tasks {
        &self.shared.underway
    }

    /// A new node, with the number of its link.
    pub(super) fn node(&self, newer: bool, weather: Weather, feed: usize) -> (SimBackend, usize) {
        let mut state = self.lock();
        let node = NodeId::from_u64(state.rng.u64(..));
        let (number, rng, up) = (state.links.len(), state.rng.fork(), state.up);
        state.links.push(Link {
            newer,
            interest: FilterSet::default(),
            up,
            dead: false,
            cuts: 0,
            weather,
            rng,
            queue: BTreeMap::new(),
            sent: 0,
            latest: Instant::now(),
            cells: Vec::new(),
            told: Told::default(),
            wake: Arc::default(),
        });
        drop(state);
        let mut info = BackendInfo::new("sim", "a simulated engine", node);
        info.max_payload = self.shared.max_payload;
        info.durability = "as long as the simulation likes";
        (SimBackend::new(info, self.clone(), number, feed), number)
    }

    /// Cuts the link of a node: what is on its way is lost, calls fail, and the node is told.
    pub(super) fn cut(&self, node: usize) {
        let cells = self.lock().cut(node);
        if let Some(cells) = cells {
            self.trace().say(format_args!("link {node}: cut"));
            for cell in cells {
                cell.set_down("the link is cut");
            }
        }
    }

    /// Heals the link of a node, if the engine is there.
    pub(super) fn heal(&self, node: usize) {
        let cells = self.lock().heal(node);
        if let Some(cells) = cells {
            self.trace().say(format_args!("link {node}: heals"));
            for cell in cells {
                cell.set_up();
            }
        }
    }

    /// The node is gone, from one moment to the next.
    pub(super) fn kill(&self, node: usize) {
        let cells = {
            let mut state = self.lock();
            let link = &mut state.links[node];
            link.dead = true;
            link.cuts += 1;
            link.queue.clear();
            link.wake.notify_one();
            std::mem::take(&mut link.cells)
        };
        cells.iter().for_each(|cell| cell.set_closed());
    }

    /// The engine goes: all links with it.
    pub(super) fn crash(&self) {
        let nodes = {
            let mut state = self.lock();
            state.up = false;
            state.links.len()
        };
        self.trace().say(format_args!("the engine crashes"));
        (0..nodes).for_each(|node| self.cut(node));
    }

    /// The engine is another incarnation, and has lost everything above `to`. Its nodes are not told.
    pub(super) fn restart(&self, to: u64) {
        let at = self.trace().now();
        let mut state = self.lock();
        state.up = true;
        let lost = state.log.restart(to, at);
        let head = self.trace().at(state.log.position());
        self.trace().say(format_args!("the engine is another incarnation at {head}, {lost} lost"));
    }

    /// Another log is there instead of this one.
    pub(super) fn replace(&self) {
        let at = self.trace().now();
        let mut state = self.lock();
        let (epoch, now) = (Epoch::from_u64(state.rng.u64(..)), state.now());
        state.log.replace(epoch, now, at);
        let head = self.trace().at(state.log.position());
        self.trace().say(format_args!("the log is replaced: {head}"));
    }

    /// What the log's clock says.
    pub(super) fn now(&self) -> LogTime {
        self.lock().now()
    }

    /// All there ever was, and what the nodes were told of it.
    pub(super) fn end(&self) -> (Archive, Vec<Told>) {
        let mut state = self.lock();
        let told = state.links.iter_mut().map(|link| std::mem::take(&mut link.told)).collect();
        (std::mem::take(&mut state.log.archive), told)
    }
}

impl State {
    pub(super) fn now(&self) -> LogTime {
        let since = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        LogTime::from_millis(DAWN.as_millis() + since + self.skew)
    }

    /// A form that a node of either version writes.
    pub(super) fn form(&mut self, newer: bool, critical: u32) -> Form {
        if !newer {
            return Form::Usual;
        }
        match self.rng.u32(..100) {
            n if n < critical / 4 => Form::Reframed,
            n if n < critical => Form::Critical,
            n if n < 60 => Form::Newer,
            _ => Form::Usual,
        }
    }

    /// Sends what was published to all nodes but those who are gone.
    pub(super) fn push(&mut self, from: usize, outgoing: &[Outgoing]) {
        let Self { log, links, .. } = self;
        let epoch = log.lineage.epoch;
        for (n, link) in links.iter_mut().enumerate() {
            if link.dead || !link.up || link.weather.deaf {
                continue;
            }
            for outgoing in outgoing {
                match outgoing {
                    Outgoing::Entry(stored) if link.interest.matches(stored.topic()) => {
                        link.send(&log.event(stored, link.newer));
                    }
                    Outgoing::Entry(stored) => {
                        let (from, to) = (stored.seq(), stored.seq());
                        link.send(&FeedEvent::Skip { epoch, from, to });
                    }
                    Outgoing::Live(message)
                        if n != from && link.interest.matches(&message.envelope.topic) =>
                    {
                        link.send(&FeedEvent::Live(message.clone()));
                    }
                    Outgoing::Live(_) => {}
                }
            }
        }
    }

    fn cut(&mut self, node: usize) -> Option<Vec<Arc<HealthCell>>> {
        let link = self.links.get_mut(node).filter(|link| link.up && !link.dead)?;
        link.up = false;
        link.cuts += 1;
        // What was on its way is lost with the link.
        link.queue.clear();
        link.notice(FeedEvent::LinkLost { reason: Arc::from("the link is cut") });
        Some(link.cells.clone())
    }

    fn heal(&mut self, node: usize) -> Option<Vec<Arc<HealthCell>>> {
        let (head, up) = (self.log.position(), self.up);
        let link = self.links.get_mut(node).filter(|link| up && !link.up && !link.dead)?;
        link.up = true;
        link.notice(FeedEvent::LinkRestored { head });
        Some(link.cells.clone())
    }
}

impl Link {
    /// Puts a push on its way, as the weather is.
    fn send(&mut self, event: &FeedEvent) {
        let Self { weather, rng, .. } = self;
        if rng.f64() < weather.lose {
            return;
        }
        // A live message comes at most once.
        let again = rng.f64() < weather.repeat && !matches!(event, FeedEvent::Live(_));
        for _ in 0..=usize::from(again) {
            let mut due = Instant::now() + self.weather.way(&mut self.rng) + self.weather.lag;
            if !self.weather.shuffle {
                due = due.max(self.latest);
                self.latest = due;
            }
            self.sent += 1;
            self.queue.insert((due, self.sent), event.clone());
        }
        self.wake.notify_one();
    }

    /// Puts a notice on its way, which is never lost.
    fn notice(&mut self, notice: FeedEvent) {
        self.sent += 1;
        self.queue.insert((Instant::now(), self.sent), notice);
        self.wake.notify_one();
    }

    /// Takes out what has arrived; else says when the next arrives.
    pub(super) fn arrived(&mut self, now: Duration) -> Result<Vec<FeedEvent>, Option<Instant>> {
        let mut batch = Vec::new();
        while let Some(first) = self.queue.first_entry()
            && first.key().0 <= Instant::now()
            && batch.len() < 64
        {
            let event = first.remove();
            if let Some(position) = reaches(&event) {
                self.told.position(now, position);
            }
            join(&mut batch, event);
        }
        if batch.is_empty() {
            return Err(self.queue.first_key_value().map(|((due, _), _)| *due));
        }
        Ok(batch)
    }
}

/// The highest position that a push tells of.
fn reaches(event: &FeedEvent) -> Option<Position> {
    match event {
        FeedEvent::Entry(entry) => Some(entry.position),
        FeedEvent::Skip { epoch, to, .. } => Some(Position::new(*epoch, *to)),
        FeedEvent::Undecodable { position, .. } => Some(*position),
        FeedEvent::LinkRestored { head } => Some(*head),
        _ => None,
    }
}

/// Adds an event to a batch; a skip behind a skip makes it longer.
fn join(batch: &mut Vec<FeedEvent>, event: FeedEvent) {
    if let FeedEvent::Skip { epoch, from, to } = event
        && let Some(FeedEvent::Skip { epoch: last, to: end, .. }) = batch.last_mut()
        && *last == epoch
        && *end + 1 == from
    {
        *end = to;
        return;
    }
    batch.push(event);
}
