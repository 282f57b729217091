//! Nodes, clients and publishers over the simulated engine, and what happens to them.
//!
//! All clients and publishers are polled by one task, in a fixed order: who is woken first of
//! several tasks that wait for one `tokio::sync::watch` is a matter of chance there.

mod troubles;

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::BoxFuture;
use tavern_backend::{Bus, MessageEnvelope, Position, Scope, Topic};
use tavern_broker::Broker;
use tokio::time::{Instant, Sleep, sleep_until};

use super::client::{Client, Item, Note};
use super::engine::Engine;
use super::plan::{Plan, SCOPES};
use super::publishing::{Publication, Said, Underway};
use super::run::Layer;
use super::trace::Trace;
use super::weather::Weather;

/// Polls without time moving on, after which something spins.
const SPINS: u32 = 200_000;
/// Longer than anything takes once all is well again.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct World {
    pub(super) plan: Plan,
    layer: Layer,
    rng: Rng,
    pub(super) engine: Engine,
    trace: Trace,
    slots: Vec<Option<Running>>,
    pub(super) clients: Vec<Client>,
    pub(super) publications: Vec<Publication>,
    underway: Vec<Underway>,
    closing: Vec<BoxFuture<'static, ()>>,
    alarm: Pin<Box<Sleep>>,
    spins: (Instant, u32),
    /// What went wrong before anything was judged.
    pub(super) wrong: Vec<String>,
    pub(super) troubles: u64,
    /// Nothing happens until then.
    idle_until: Option<Instant>,
}

struct Running {
    broker: Broker,
    link: usize,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(seed: u64, layer: Layer, trace: Trace) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::of(&mut rng);
        let engine = Engine::new(plan.rules.clone(), rng.fork(), trace.clone());
        let clients = (0..plan.clients).map(|name| {
            let scope = SCOPES[if rng.bool() { 0 } else { rng.usize(..SCOPES.len()) }];
            let scope = scope.and_then(|scope| Scope::new(scope).ok());
            Client::new(name, Plan::wish(&mut rng), scope)
        });
        let clients = clients.collect();
        trace.say(format_args!("{} nodes, {} clients, {plan:?}", plan.nodes, plan.clients));
        Self {
            slots: (0..plan.nodes).map(|_| None).collect(),
            plan,
            layer,
            rng,
            engine,
            trace,
            clients,
            publications: Vec::new(),
            underway: Vec::new(),
            closing: Vec::new(),
            alarm: Box::pin(sleep_until(Instant::now())),
            spins: (Instant::now(), 0),
            wrong: Vec::new(),
            troubles: 0,
            idle_until: None,
        }
    }

    /// Runs all of it, to the end.
    pub(super) async fn play(&mut self) {
        for slot in 0..self.slots.len() {
            self.start(slot);
        }
        let end = Instant::now() + self.plan.lasts;
        while Instant::now() < end && self.wrong.is_empty() {
            self.trouble();
            let pause = Duration::from_micros(self.rng.u64(0..2_000 * self.plan.pace));
            let until = self.idle_until.take().unwrap_or_else(|| Instant::now() + pause);
            self.wait(until).await;
        }
        if self.wrong.is_empty() {
            self.settle().await;
        }
        self.end().await;
    }

    /// Everything is well again: what was promised is settled, and everybody reads to the end.
    async fn settle(&mut self) {
        self.trace.say(format_args!("everything is well again"));
        self.mend();
        let limit = Instant::now() + PATIENCE;
        while !self.is_settled() {
            if Instant::now() > limit {
                return self.wrong.push("a publication was never settled".to_owned());
            }
            self.wait(Instant::now() + Duration::from_millis(50)).await;
        }
        // Something is appended, so that a log that lost its end opens its next epoch.
        let last = self.publications.len();
        loop {
            let topic = Topic::new("a").ok();
            let envelopes = topic.map(|topic| self.envelope(topic, None, false)).into_iter();
            self.publish(0, envelopes.collect());
            self.wait(Instant::now() + Duration::from_millis(500)).await;
            if self.publications[last..].iter().any(|p| matches!(p.said, Said::Stored(_))) {
                break;
            }
            if Instant::now() > limit {
                return self.wrong.push("nothing can be published any more".to_owned());
            }
        }
        let head = self.engine.lock().log.position();
        for n in 0..self.clients.len() {
            let slot = self.rng.usize(..self.slots.len());
            self.connect(n, slot);
        }
        let limit = Instant::now() + PATIENCE;
        while let Some(behind) = self.behind(head) {
            if Instant::now() > limit {
                return self.wrong.push(behind);
            }
            self.wait(Instant::now() + Duration::from_millis(50)).await;
        }
        for n in 0..self.clients.len() {
            let client = &mut self.clients[n];
            if let Some(at) = client.stream.as_ref().and_then(tavern_broker::Subscription::cursor) {
                let note = note(&self.engine, &self.trace, false);
                client.note(&note, Item::Silent(at.0));
            }
        }
    }

    fn is_settled(&mut self) -> bool {
        for publication in &mut self.publications {
            publication.said.settle();
        }
        let tickets = |p: &Publication| matches!(p.said, Said::Spooled(_));
        self.underway.is_empty() && !self.publications.iter().any(tickets)
    }

    /// Says of a client that has not come to `head` yet where it stands.
    fn behind(&self, head: Position) -> Option<String> {
        let behind = self.clients.iter().find(|client| !reaches(client, head))?;
        let at = behind.stream.as_ref().and_then(tavern_broker::Subscription::cursor);
        let at = at.map(|at| self.trace.at(at.0).to_string());
        let (name, head) = (behind.name, self.trace.at(head));
        Some(format!("client {name} never reaches the end: it stands at {at:?}, not at {head}"))
    }

    async fn end(&mut self) {
        for n in 0..self.clients.len() {
            self.leave(n);
        }
        self.underway.clear();
        for slot in 0..self.slots.len() {
            if let Some(running) = self.slots[slot].take() {
                self.close(running);
            }
        }
        let limit = Instant::now() + PATIENCE;
        while !self.closing.is_empty() {
            if Instant::now() > limit {
                return self.wrong.push("a node does not close".to_owned());
            }
            self.wait(Instant::now() + Duration::from_millis(100)).await;
        }
        self.engine.underway().close().await;
    }

    fn close(&mut self, running: Running) {
        let broker = running.broker;
        self.closing.push(Box::pin(async move { broker.close().await }));
    }

    /// Lets everybody go on until then.
    async fn wait(&mut self, until: Instant) {
        let mut over = pin!(sleep_until(until));
        poll_fn(|cx| {
            loop {
                self.spins = match self.spins {
                    (at, n) if at == Instant::now() => (at, n + 1),
                    _ => (Instant::now(), 0),
                };
                if self.spins.1 > SPINS {
                    self.wrong.push("something spins: no time goes by".to_owned());
                    return Poll::Ready(());
                }
                let next = self.poll_all(cx);
                if over.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                let Some(next) = next.filter(|next| *next < until) else { return Poll::Pending };
                self.alarm.as_mut().reset(next);
                if self.alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// Polls everybody once, in order. Returns when the next slow client reads.
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let note = note(&self.engine, &self.trace, false);
        for client in &mut self.clients {
            let reads = client.poll(cx, &note);
            next = [next, reads].into_iter().flatten().min();
        }
        let Self { underway, publications, trace, .. } = self;
        underway.retain_mut(|call| {
            let Poll::Ready(answers) = call.call.as_mut().poll(cx) else { return true };
            for (number, answer) in call.numbers.iter().zip(answers) {
                let said = Said::of(answer);
                let word = said.word(trace);
                trace.say(format_args!("publication {number}: {word}"));
                publications[*number].said = said;
            }
            false
        });
        self.closing.retain_mut(|closing| closing.as_mut().poll(cx).is_pending());
        next
    }

    fn start(&mut self, slot: usize) {
        let newer = self.plan.mixed && self.rng.bool();
        let weather = if self.rng.bool() { Weather::fair() } else { Weather::any(&mut self.rng) };
        let (backend, link) = self.engine.node(newer, weather, self.plan.feed);
        self.trace.say(format_args!("node {slot} starts on link {link}, newer: {newer}"));
        let config = self.plan.config.clone();
        match Broker::builder().bus((self.layer)(Bus::new(backend))).config(config).build() {
            Ok(broker) => self.slots[slot] = Some(Running { broker, link }),
            Err(error) => self.wrong.push(format!("a node does not start: {error}")),
        }
    }

    fn connect(&mut self, n: usize, slot: usize) {
        let Some(running) = &self.slots[slot] else { return };
        let note = note(&self.engine, &self.trace, self.rng.bool());
        self.clients[n].connect(&running.broker, (slot, running.link), &note);
    }

    fn leave(&mut self, n: usize) {
        let note = note(&self.engine, &self.trace, self.rng.bool());
        self.clients[n].leave(&note);
    }

    fn envelope(&mut self, topic: Topic, scope: Option<&str>, loose: bool) -> MessageEnvelope {
        let n = self.publications.len();
        let most = if self.rng.u32(..40) == 0 && loose { 700 } else { 200 };
        let text = format!("{n} {}", "x".repeat(self.rng.usize(..most)));
        let mut envelope = MessageEnvelope::new(topic, text);
        envelope.scope = scope.and_then(|scope| Scope::new(scope).ok());
        if loose && self.rng.u32(..5) == 0 {
            envelope.ttl = Some(Duration::from_millis(self.rng.u64(20..5_000)));
        }
        if loose && self.rng.u32(..5) == 0 {
            envelope.id = format!("id-{n}").try_into().ok();
        }
        envelope
    }

    /// Publishes on the node in `slot`, if there is one.
    fn publish(&mut self, slot: usize, envelopes: Vec<MessageEnvelope>) {
        let Some(Running { broker, link }) = &self.slots[slot] else { return };
        let at = self.trace.now();
        let numbers = self.publications.len()..self.publications.len() + envelopes.len();
        let rules = &self.plan.rules.retention;
        for envelope in &envelopes {
            self.publications.push(Publication {
                lane: envelope.lane(),
                text: std::sync::Arc::from(envelope.data.as_str()),
                live: rules.of(&envelope.topic).is_live(),
                again: false,
                id: envelope.id.clone(),
                ttl: envelope.ttl,
                link: *link,
                at,
                said: Said::Nothing,
            });
        }
        self.trace.say(format_args!("link {link}: publications {numbers:?}"));
        let (broker, link) = (broker.clone(), *link);
        let call = Box::pin(async move { broker.publish_all(envelopes).await });
        self.underway.push(Underway { link, numbers: numbers.collect(), call });
    }
}

/// What a client does not know of the moment.
fn note<'a>(engine: &Engine, trace: &'a Trace, heartbeat: bool) -> Note<'a> {
    Note { trace, log: engine.now(), heartbeat }
}

fn reaches(client: &Client, head: Position) -> bool {
    let at = client.stream.as_ref().and_then(tavern_broker::Subscription::cursor);
    at.is_some_and(|at| at.0.epoch == head.epoch && at.0.seq >= head.seq)
}
