//! What the hand does to pushes; no I/O, no clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use tavern_backend::{Entry, FeedEvent, TopicFilter};

type Which<T> = dyn Fn(&T) -> bool + Send + Sync;

/// What happens to reads of history.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reads {
    Work,
    Fail(usize),
    Hang,
}

pub(super) struct State {
    pub(super) up: bool,
    /// How often the link was cut: a call that spans a cut has lost its answer.
    pub(super) cuts: u64,
    pub(super) interest: BTreeSet<TopicFilter>,
    pub(super) lose_next: usize,
    pub(super) lose_if: Option<Box<Which<FeedEvent>>>,
    pub(super) duplicate_next: usize,
    pub(super) holding: bool,
    pub(super) hold_subscribes: bool,
    pub(super) lose_answers: usize,
    pub(super) fail_publishes: usize,
    pub(super) reads: Reads,
    pub(super) spoil: Option<Arc<Which<Entry>>>,
    /// What the pump may pass on.
    pub(super) ready: Vec<FeedEvent>,
    held: Vec<FeedEvent>,
    window: usize,
    shuffling: Vec<FeedEvent>,
    rng: fastrand::Rng,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            up: true,
            cuts: 0,
            interest: BTreeSet::new(),
            lose_next: 0,
            lose_if: None,
            duplicate_next: 0,
            holding: false,
            hold_subscribes: false,
            lose_answers: 0,
            fail_publishes: 0,
            reads: Reads::Work,
            spoil: None,
            ready: Vec::new(),
            held: Vec::new(),
            window: 1,
            shuffling: Vec::new(),
            rng: fastrand::Rng::with_seed(0),
        }
    }

    /// Returns whether the link was up before.
    pub(super) fn cut(&mut self) -> bool {
        let was_up = std::mem::replace(&mut self.up, false);
        if was_up {
            self.cuts += 1;
            // What was on its way is lost with the link.
            self.held.clear();
            self.shuffling.clear();
            let reason = Arc::from("the cable is cut");
            self.ready.push(FeedEvent::LinkLost { reason });
        }
        was_up
    }

    pub(super) fn shuffle(&mut self, window: usize, seed: u64) {
        self.window = window.max(1);
        self.rng = fastrand::Rng::with_seed(seed);
        self.flush_window();
    }

    pub(super) fn release(&mut self) {
        self.holding = false;
        self.ready.append(&mut self.held);
    }

    pub(super) fn waiting(&self) -> usize {
        self.ready.len() + self.held.len() + self.shuffling.len()
    }

    pub(super) fn window_is_open(&self) -> bool {
        !self.shuffling.is_empty()
    }

    pub(super) fn flush_window(&mut self) {
        let mut window = std::mem::take(&mut self.shuffling);
        self.rng.shuffle(&mut window);
        self.pass(window);
    }

    /// Takes what the engine pushed; returns how many pushes were swallowed.
    pub(super) fn arrive(&mut self, batch: Vec<FeedEvent>) -> u64 {
        let mut swallowed = 0;
        for event in batch {
            if is_notice(&event) {
                // The engine's own link may fail too, beneath a cable that is whole.
                if self.up {
                    self.flush_window();
                    self.pass(vec![event]);
                }
                continue;
            }
            if !self.up || self.loses(&event) {
                swallowed += 1;
                continue;
            }
            let event = self.spoiled(event);
            if is_message(&event) && self.duplicate_next > 0 {
                self.duplicate_next -= 1;
                self.through_window(event.clone());
            }
            self.through_window(event);
        }
        swallowed
    }

    fn loses(&mut self, event: &FeedEvent) -> bool {
        if self.lose_next > 0 && is_message(event) {
            self.lose_next -= 1;
            return true;
        }
        self.lose_if.as_ref().is_some_and(|which| which(event))
    }

    fn spoiled(&self, event: FeedEvent) -> FeedEvent {
        match (&self.spoil, event) {
            (Some(which), FeedEvent::Entry(entry)) if which(&entry) => FeedEvent::Undecodable {
                position: entry.position,
                lane: Some(entry.lane()),
                reason: Arc::from("spoiled by the cable"),
            },
            (_, event) => event,
        }
    }

    fn through_window(&mut self, event: FeedEvent) {
        if self.window <= 1 {
            return self.pass(vec![event]);
        }
        self.shuffling.push(event);
        if self.shuffling.len() >= self.window {
            self.flush_window();
        }
    }

    fn pass(&mut self, events: Vec<FeedEvent>) {
        if self.holding {
            self.held.extend(events);
        } else {
            self.ready.extend(events);
        }
    }
}

fn is_notice(event: &FeedEvent) -> bool {
    matches!(event, FeedEvent::LinkLost { .. } | FeedEvent::LinkRestored { .. })
}

fn is_message(event: &FeedEvent) -> bool {
    matches!(event, FeedEvent::Entry(_) | FeedEvent::Live(_))
}
