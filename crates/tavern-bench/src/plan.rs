//! How much is measured.

use std::time::Duration;

use clap::ValueEnum;

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Encoding frames.
    Encode,
    /// From the feed to subscribers, beside `tokio::sync::broadcast`.
    FanOut,
    /// Publishing, beside bare inserts.
    Publish,
    /// From a publisher to a subscriber on another node.
    Latency,
    /// Many clients that come back at once.
    Resume,
    /// What topics and subscriptions take in memory.
    Memory,
    /// Real clients that are cut off and come back at once: minutes, so only if it is asked for.
    Crowd,
    /// What stays on Postgres's disk: many minutes, so only if it is asked for.
    PostgresVacuum,
}

impl Part {
    /// Those of a run that asks for none, in their order.
    pub const ALL: [Self; 6] =
        [Self::Encode, Self::FanOut, Self::Publish, Self::Latency, Self::Resume, Self::Memory];
}

/// How much is measured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// Which parts.
    pub parts: Vec<Part>,
    /// Of fan-out, publishing, latency and crowds, only rows whose name contains this.
    pub rows: String,
    /// Measurements of each kind; the median counts.
    pub pairs: usize,
    /// Encodings in one measurement.
    pub encodings: usize,
    /// Sizes of the crowds that messages fan out to.
    pub crowds: Vec<usize>,
    /// Deliveries in one measurement of a fan-out, as far as that needs no more than `messages`.
    pub deliveries: usize,
    /// The most messages in one measurement of a fan-out.
    pub messages: usize,
    /// How long one measurement of publishing takes.
    pub publishing: Duration,
    /// Messages of one measurement of latency.
    pub latencies: usize,
    /// Clients that resume at once.
    pub resumes: Vec<usize>,
    /// Real clients that come back at once.
    pub crowd: usize,
    /// The most entries that they have missed.
    pub missed: usize,
    /// Topics that are kept in memory.
    pub topics: usize,
    /// Subscriptions that are kept in memory.
    pub subscriptions: usize,
    /// Messages that go through Postgres's tables.
    pub vacuumed: usize,
    /// How long a transaction holds up vacuum there.
    pub held: Duration,
}

impl Plan {
    /// What takes a few minutes and gives figures that can be told.
    #[must_use]
    pub fn full() -> Self {
        Self {
            parts: Part::ALL.to_vec(),
            rows: String::new(),
            pairs: 5,
            encodings: 100_000,
            crowds: vec![1, 100, 1_000, 10_000],
            deliveries: 8_000_000,
            messages: 50_000,
            publishing: Duration::from_secs(2),
            latencies: 2_000,
            resumes: vec![1_000],
            crowd: 15_000,
            missed: usize::MAX,
            topics: 100_000,
            subscriptions: 10_000,
            vacuumed: 1_000_000,
            held: Duration::from_secs(120),
        }
    }

    /// What shows in a few seconds that every part still runs. Its figures say nothing.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            pairs: 1,
            encodings: 100,
            crowds: vec![1, 100],
            deliveries: 2_000,
            messages: 200,
            publishing: Duration::from_millis(50),
            latencies: 20,
            resumes: vec![50],
            crowd: 50,
            missed: 400,
            topics: 1_000,
            subscriptions: 100,
            vacuumed: 800,
            held: Duration::from_millis(100),
            ..Self::full()
        }
    }

    /// The same with the crowd of clients that comes back after a node is lost.
    #[must_use]
    pub fn long(mut self) -> Self {
        self.resumes.push(15_000);
        self
    }

    /// The same with these parts only.
    #[must_use]
    pub fn only(mut self, parts: Vec<Part>) -> Self {
        self.parts = parts;
        self
    }
}
