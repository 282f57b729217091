//! The whole of it against a plain list: two nodes, clients that come and go, cables that are cut,
//! pushes and answers that are lost, a ring and a history too small for everything. Every client's
//! record is complete, in order and free of duplicates, or says where it is not.

use std::collections::HashSet;
use std::time::Duration;

use tavern_backend::{Bus, Cable, Cursor, Keep, MemoryEngine, Retention, TopicFilter};
use tavern_broker::{Broker, Delivery, Event, Outcome, Settled, Subscription, Ticket};

use crate::kit::{LIMIT, config, engine};

const TOPICS: [&str; 6] = ["a", "b", "b/c", "b/d", "e/f/g", "h"];
const SCOPES: [Option<&str>; 3] = [None, Some("s1"), Some("s2")];
const WISHES: [&[&str]; 6] =
    [&["a"], &["a", "b", "h"], &["b/**"], &["**"], &["*/c", "a"], &["e/*/g", "b/*"]];

/// What was published: its seq once known, where it went, what it says.
struct Published {
    seq: u64,
    topic: &'static str,
    scope: Option<&'static str>,
    text: String,
}

/// A client with its record.
struct Client {
    wish: &'static [&'static str],
    scope: Option<&'static str>,
    stream: Option<Subscription>,
    /// Where its record begins.
    start: Option<u64>,
    last: Option<Cursor>,
    record: Vec<Recorded>,
}

enum Recorded {
    Message(u64, String),
    /// Of these topics, or of all that these filters match.
    Gap(Vec<String>),
}

struct World {
    rng: fastrand::Rng,
    nodes: Vec<(Broker, Cable)>,
    clients: Vec<Client>,
    published: Vec<Published>,
    tickets: Vec<(Ticket, usize)>,
}

fn node(engine: &MemoryEngine, ring_bytes: usize) -> (Broker, Cable) {
    let backend = engine.node();
    let cable = backend.cable();
    let mut config = config();
    config.ring_bytes = ring_bytes;
    config.pending_entries = 16;
    config.page_cache_bytes = 20_000;
    (Broker::builder().bus(Bus::new(backend)).config(config).build().unwrap(), cable)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let keep = Keep::new(rng.u32(3..200), Duration::ZERO);
        let engine = engine(Retention::default().with_default(keep));
        let ring = rng.usize(8_000..100_000);
        let nodes = vec![node(&engine, ring), node(&engine, ring)];
        let clients = (0..rng.usize(2..7))
            .map(|_| Client {
                wish: WISHES[rng.usize(..WISHES.len())],
                scope: SCOPES[rng.usize(..SCOPES.len())],
                stream: None,
                start: None,
                last: None,
                record: Vec::new(),
            })
            .collect();
        Self { rng, nodes, clients, published: Vec::new(), tickets: Vec::new() }
    }

    async fn step(&mut self) {
        match self.rng.u32(..100) {
            0..50 => self.publish().await,
            50..56 => {
                let n = self.rng.usize(..self.clients.len());
                self.clients[n].stream = None;
            }
            56..68 => {
                let (n, node) = (self.rng.usize(..self.clients.len()), self.rng.usize(..2));
                self.connect(n, node);
            }
            68..90 => {
                let (n, most) = (self.rng.usize(..self.clients.len()), self.rng.usize(1..30));
                self.clients[n].read(most).await;
            }
            90..93 => self.any_cable().cut(),
            93..97 => self.any_cable().heal(),
            97..98 => self.any_cable().lose_answers(1),
            _ => {
                let n = self.rng.u64(1..6);
                self.any_cable().lose_pushes(n);
            }
        }
    }

    fn any_cable(&mut self) -> &Cable {
        let n = self.rng.usize(..self.nodes.len());
        &self.nodes[n].1
    }

    async fn publish(&mut self) {
        let topic = TOPICS[self.rng.usize(..TOPICS.len())];
        let scope = SCOPES[self.rng.usize(..SCOPES.len())];
        let text = format!("{} {}", self.published.len(), "x".repeat(self.rng.usize(..300)));
        let mut event = Event::new(text.clone());
        if let Some(scope) = scope {
            event = event.scope(scope);
        }
        let node = self.rng.usize(..self.nodes.len());
        let outcome = self.nodes[node].0.publish(topic, event).await.unwrap();
        let seq = outcome.cursor().map_or(0, |cursor| cursor.0.seq);
        if let Outcome::Spooled(ticket) = outcome {
            self.tickets.push((ticket, self.published.len()));
        }
        self.published.push(Published { seq, topic, scope, text });
    }

    fn connect(&mut self, n: usize, node: usize) {
        let client = &mut self.clients[n];
        let mut subscribe = self.nodes[node].0.subscribe(client.wish.iter().copied());
        if let Some(scope) = client.scope {
            subscribe = subscribe.scope(scope);
        }
        client.stream = Some(subscribe.resume(client.last).open().unwrap());
    }

    /// Everything heals, everybody comes back and reads to the end.
    async fn settle(&mut self) {
        for (_, cable) in &self.nodes {
            cable.heal();
        }
        for (ticket, n) in &mut self.tickets {
            match tokio::time::timeout(LIMIT, ticket.wait()).await.expect("tickets settle") {
                Settled::Stored(cursor) | Settled::Duplicate(cursor) => {
                    self.published[*n].seq = cursor.0.seq;
                }
                other => panic!("{other:?}"),
            }
        }
        let head = self.published.iter().map(|published| published.seq).max().unwrap_or(0);
        for n in 0..self.clients.len() {
            let node = self.rng.usize(..self.nodes.len());
            self.connect(n, node);
            self.clients[n].read_to(head).await;
        }
    }

    fn check(&self, seed: u64) {
        for (n, client) in self.clients.iter().enumerate() {
            let who = format!("seed {seed}, client {n} of {:?} {:?}", client.wish, client.scope);
            client.check(&self.published, &who);
        }
    }
}

impl Client {
    /// Takes up to `most` deliveries of what comes soon.
    async fn read(&mut self, most: usize) {
        for _ in 0..most {
            let Some(stream) = &mut self.stream else { return };
            let next = tokio::time::timeout(Duration::from_millis(5), stream.recv()).await;
            let Ok(Some(delivery)) = next else { return };
            self.take(delivery);
        }
    }

    /// Reads until the client's position has reached `head`.
    async fn read_to(&mut self, head: u64) {
        let reads = async {
            loop {
                let stream = self.stream.as_mut().unwrap();
                if stream.cursor().is_some_and(|cursor| cursor.0.seq >= head) {
                    return;
                }
                let soon = tokio::time::timeout(Duration::from_millis(20), stream.recv()).await;
                if let Ok(delivery) = soon {
                    self.take(delivery.expect("no stream ends"));
                }
            }
        };
        tokio::time::timeout(LIMIT, reads).await.expect("everybody reaches the head");
    }

    fn take(&mut self, delivery: Delivery) {
        if let Some(cursor) = delivery.cursor() {
            self.start.get_or_insert(cursor.0.seq);
            self.last = Some(cursor);
        }
        match delivery {
            Delivery::Message(message) => {
                let seq = message.cursor().unwrap().0.seq;
                self.record.push(Recorded::Message(seq, message.data().as_str().to_owned()));
            }
            Delivery::Gap(gap) => self.record.push(Recorded::Gap(gap.topics)),
            _ => {}
        }
    }

    fn check(&self, published: &[Published], who: &str) {
        let Some(start) = self.start else { return };
        let filters: Vec<_> =
            self.wish.iter().map(|filter| TopicFilter::new(filter).unwrap()).collect();
        let mut wanted: Vec<_> = published
            .iter()
            .filter(|p| p.seq > start && p.scope == self.scope)
            .filter(|p| filters.iter().any(|f| f.matches(&p.topic.try_into().unwrap())))
            .collect();
        wanted.sort_by_key(|published| published.seq);
        let mut wanted = wanted.into_iter().peekable();
        // Topics of which a gap was told, until the next message of the topic.
        let mut excused: HashSet<&str> = HashSet::new();
        let mut before = start;
        for recorded in &self.record {
            let (seq, text) = match recorded {
                Recorded::Message(seq, text) => (*seq, text),
                Recorded::Gap(topics) => {
                    excused.extend(TOPICS.iter().filter(|topic| covers(topics, topic)));
                    continue;
                }
            };
            assert!(seq > before, "{who}: {seq} came after {before}");
            before = seq;
            while let Some(missing) = wanted.next_if(|next| next.seq < seq) {
                let told = excused.contains(missing.topic);
                assert!(told, "{who}: {} is missing before {seq}, and no gap", missing.seq);
            }
            let next = wanted.next();
            assert!(
                next.is_some_and(|next| next.seq == seq && next.text == *text),
                "{who}: {seq} {text:?} came, {:?} was wanted",
                next.map(|next| (next.seq, &next.text)),
            );
            next.map(|next| excused.remove(next.topic));
        }
        let rest: Vec<_> = wanted.filter(|p| !excused.contains(p.topic)).map(|p| p.seq).collect();
        assert!(rest.is_empty(), "{who}: {rest:?} never came, and no gap");
    }
}

fn covers(filters: &[String], topic: &str) -> bool {
    let topic = topic.try_into().unwrap();
    filters.iter().any(|filter| TopicFilter::new(filter).unwrap().matches(&topic))
}

async fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..300 {
        world.step().await;
    }
    world.settle().await;
    world.check(seed);
    for (broker, _) in &world.nodes {
        broker.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_record_is_complete_or_says_where_it_is_not() {
    for seed in 0..150 {
        run(seed).await;
    }
}
