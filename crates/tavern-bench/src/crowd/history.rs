//! What the crowd has missed.

use std::fmt;
use std::time::Duration;

use tavern_backend::{
    Append, Cursor, Keep, MessageEnvelope, Payload, Position, Publication, Published, Retention,
    Topic,
};
use tokio::time::Instant;

use crate::plan::Plan;
use crate::publish::{Kind, Store};
use crate::run::Result;

const PAYLOAD: usize = 256;
/// Publications of one append.
const BATCH: usize = 500;

/// How much there is, and how it is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    name: &'static str,
    topics: usize,
    entries: usize,
    /// Every client also has a topic of its own; every second entry goes to one of those.
    own: bool,
}

impl Shape {
    pub(super) const ALL: [Self; 4] = [
        Self { name: "20 topics, 5 k entries", topics: 20, entries: 5_000, own: false },
        Self { name: "a topic each, 5 k entries", topics: 20, entries: 5_000, own: true },
        Self { name: "200 topics, 40 k entries", topics: 200, entries: 40_000, own: false },
        Self { name: "a topic each, 40 k entries", topics: 200, entries: 40_000, own: true },
    ];

    /// The same, as long as the plan allows.
    pub(super) fn sized(self, plan: &Plan) -> Self {
        Self { entries: self.entries.min(plan.missed), ..self }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A log with something in it. The data of each message is its topic's number and its own number
/// within the topic.
#[derive(Debug)]
pub(super) struct History {
    store: Store,
    shape: Shape,
    clients: usize,
    head: Position,
    /// For each topic, the seqs of its messages.
    seqs: Vec<Vec<u64>>,
}

/// A client's place in it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) cursor: Cursor,
    pub(super) topics: Vec<Topic>,
    /// For each topic its number, the message that comes next, and how many there are.
    pub(super) numbers: Vec<(usize, usize, usize)>,
}

impl History {
    /// Writes a new log for so many clients.
    pub(super) async fn write(kind: Kind, shape: Shape, clients: usize) -> Result<Self> {
        let keep = Keep::new(256, Duration::from_secs(3600));
        let store = Store::with(kind, Retention::default().with_default(keep)).await?;
        let mut seqs = vec![Vec::new(); shape.topics + if shape.own { clients } else { 0 }];
        let mut head = None;
        let mut entry = 0;
        while entry < shape.entries {
            let batch: Vec<_> = (entry..shape.entries.min(entry + BATCH)).collect();
            let mut publications = Vec::new();
            for &n in &batch {
                let topic = Self::topic_of(shape, clients, n);
                let begun = batch[..n - entry].iter();
                let before = begun.filter(|n| Self::topic_of(shape, clients, **n) == topic).count();
                let number = seqs[topic].len() + before;
                let mut data = format!("{topic} {number} ");
                data.extend(std::iter::repeat_n('x', PAYLOAD.saturating_sub(data.len())));
                publications.push(Publication {
                    key: store.bus.next_key(),
                    envelope: MessageEnvelope::new(name(topic)?, Payload::from(data)),
                    accepted: Instant::now(),
                });
            }
            let stored = store.bus.append(Append { known: None, publications }).await?;
            for (&n, stored) in batch.iter().zip(stored) {
                let Published::Stored(position) = stored else {
                    return Err(format!("not stored: {stored:?}").into());
                };
                seqs[Self::topic_of(shape, clients, n)].push(position.seq);
                head = Some(position);
            }
            entry += batch.len();
        }
        let head = head.ok_or("nothing was stored")?;
        Ok(Self { store, shape, clients, head, seqs })
    }

    /// The topic of the `n`th entry.
    fn topic_of(shape: Shape, clients: usize, n: usize) -> usize {
        match (shape.own, n % 2) {
            (true, 1) => shape.topics + (n / 2) % clients,
            (true, _) => (n / 2) % shape.topics,
            (false, _) => n % shape.topics,
        }
    }

    /// Where a hub finds it.
    pub(super) fn url(&self) -> Result<String> {
        self.store.hub_url().ok_or_else(|| "no hub reaches this log".into())
    }

    /// What client `n` follows, and where it was cut off.
    pub(super) fn wanted(&self, n: usize) -> Result<Wanted> {
        let entries = u64::try_from(self.shape.entries)?;
        // A prime step visits places all over the log.
        let behind = (u64::try_from(n)? * 7_919) % entries;
        let seq = self.head.seq - entries + behind;
        let mut numbers = vec![n % self.shape.topics];
        if self.shape.own {
            numbers.push(self.shape.topics + n % self.clients);
        }
        let topics: Result<Vec<_>> = numbers.iter().map(|topic| name(*topic)).collect();
        let numbers = numbers.into_iter().map(|topic| {
            let had = self.seqs[topic].partition_point(|stored| *stored <= seq);
            (topic, had, self.seqs[topic].len())
        });
        let cursor = Cursor(Position::new(self.head.epoch, seq));
        Ok(Wanted { cursor, topics: topics?, numbers: numbers.collect() })
    }
}

fn name(topic: usize) -> Result<Topic> {
    Ok(Topic::new(format!("topic/{topic}"))?)
}
