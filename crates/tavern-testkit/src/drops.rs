//! Two-second drops: many clients, each cut off for a moment at a time of its own, while publishers
//! go on publishing. How much of it arrives?
//!
//! It asks nothing of a server but event streams and a way to publish, so that others can be treated
//! as Tavern is. A client whose connection is cut comes back with its last event id, to the next
//! node if it [`moves`](Drops::moves).

mod client;
mod publisher;
mod tally;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use client::{Client, Course};
pub use tally::Tally;

/// Clients that connect at the same time.
const OPENING: usize = 100;
/// What comes twice may come after all is there.
const SETTLE: Duration = Duration::from_secs(1);

/// How large it is, and how clients are treated.
#[derive(Debug, Clone)]
pub struct Drops {
    /// Clients, each of one topic.
    pub clients: usize,
    /// Topics.
    pub topics: usize,
    /// Publishers, each of its share of the topics.
    pub publishers: usize,
    /// Time between two messages to a topic.
    pub every: Duration,
    /// How long is published.
    pub length: Duration,
    /// How long a client is away.
    pub cut: Duration,
    /// How often a client is cut off.
    pub cuts: usize,
    /// Whether a client comes back to the next node, and not to the one it had.
    pub moves: bool,
    /// How long clients have to be complete after the last message.
    pub patience: Duration,
    /// Repeats the same choices.
    pub seed: u64,
}

impl Default for Drops {
    fn default() -> Self {
        Self {
            clients: 2_000,
            topics: 20,
            publishers: 4,
            every: Duration::from_millis(500),
            length: Duration::from_secs(60),
            cut: Duration::from_secs(2),
            cuts: 1,
            moves: true,
            patience: Duration::from_secs(30),
            seed: 7,
        }
    }
}

/// The nodes that are tried.
#[derive(Debug, Clone)]
pub struct Site {
    /// Their urls.
    pub nodes: Vec<String>,
    /// Where a node has the event stream of a topic, its name left out at the end.
    pub events: &'static str,
    /// Whether a new stream says at once where it begins: a client is there once it has that.
    pub opens_with_id: bool,
}

impl Site {
    /// Hubs of Tavern.
    #[must_use]
    pub const fn tavern(nodes: Vec<String>) -> Self {
        Self { nodes, events: "/events?topic=", opens_with_id: true }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Messages published, all of them accepted.
    pub published: u64,
    /// Deliveries that there were to be.
    pub expected: u64,
    /// What the clients have, added up.
    pub tally: Tally,
    /// Times a client was cut off.
    pub cuts: u64,
    /// Clients that have all of it.
    pub complete: usize,
    /// From the last message until the last client had all of it; `None` if that never was.
    pub completed: Option<Duration>,
}

impl Outcome {
    /// Whether each client has everything, once and in order, and was told of no gap.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        let Tally { delivered, twice, disordered, told, foreign, .. } = self.tally;
        delivered == self.expected && twice + disordered + told + foreign == 0
    }
}

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DropsError {
    /// Not all clients came to be connected in time.
    #[error("only {0} of {1} clients were connected in time")]
    Opening(usize, usize),
    /// A message was not accepted.
    #[error("publishing to {0}: {1}")]
    Publish(String, String),
    /// There is no time for that many cuts.
    #[error("{0} cuts of {1:?} are too many for {2:?}")]
    TooMany(usize, Duration, Duration),
    /// A client failed.
    #[error("a client failed")]
    Client(#[from] tokio::task::JoinError),
}

impl Drops {
    /// The name of a topic.
    #[must_use]
    pub fn topic(&self, number: usize) -> impl fmt::Display + use<> {
        format!("drops-{}", number % self.topics)
    }

    /// When each client is cut off, after the beginning. The first second has no cuts, so that each
    /// client has had a message before; the last ones come back as publishing ends.
    ///
    /// # Errors
    ///
    /// If there is no time for them.
    pub fn cuts(&self) -> Result<Vec<Vec<Duration>>, DropsError> {
        let margin = Duration::from_secs(1);
        let whole = self.length.saturating_sub(margin);
        let count = u32::try_from(self.cuts.max(1)).unwrap_or(u32::MAX);
        let (each, all) = (whole / count, self.cuts);
        let Some(free) = each.checked_sub(self.cut).filter(|free| !free.is_zero()) else {
            return Err(DropsError::TooMany(all, self.cut, self.length));
        };
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut of_client = || {
            let of_one = (0..count).take(all);
            of_one.map(|n| margin + each * n + free.mul_f64(rng.f64())).collect()
        };
        Ok((0..self.clients).map(|_| of_client()).collect())
    }

    /// Runs it against `site`.
    ///
    /// # Errors
    ///
    /// If the clients cannot connect, a message is not accepted, or there is no time for the cuts.
    pub async fn run(&self, site: &Site) -> Result<Outcome, DropsError> {
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build();
        let http = http.unwrap_or_default();
        let (course, courses) = watch::channel(Course::Opening);
        let (opened, mut opening) = watch::channel(0_usize);
        let (completed, mut completing) = watch::channel(0_usize);
        let doors = Arc::new(Semaphore::new(OPENING));
        let mut clients = JoinSet::new();
        for (n, cuts) in self.cuts()?.into_iter().enumerate() {
            let client = Client::new(self, site, n, cuts, http.clone(), courses.clone());
            let (opened, completed) = (opened.clone(), completed.clone());
            let doors = Arc::clone(&doors);
            clients.spawn(async move { client.run(&doors, &opened, &completed).await });
        }
        let all = self.clients;
        if timeout(self.patience * 2, opening.wait_for(|n| *n == all)).await.is_err() {
            return Err(DropsError::Opening(*opened.borrow(), all));
        }
        course.send_replace(Course::Running(Instant::now()));
        let published = Arc::new(self.publish(&site.nodes).await?);
        let end = Instant::now();
        course.send_replace(Course::Published(Arc::clone(&published)));
        // Those that miss something are waited for in vain, and told of below.
        let whole = timeout(self.patience, completing.wait_for(|n| *n == all)).await.is_ok();
        tokio::time::sleep(SETTLE).await;
        course.send_replace(Course::Over);

        let mut outcome = Outcome { published: published.iter().sum(), ..Outcome::default() };
        let of = |topic: usize| published[topic % published.len().max(1)];
        outcome.expected = (0..self.clients).map(of).sum();
        let mut last = end;
        while let Some(record) = clients.join_next().await {
            let record = record?;
            outcome.tally.add(&record.tally);
            outcome.cuts += record.cuts;
            outcome.complete += usize::from(record.complete.is_some());
            last = last.max(record.complete.unwrap_or(end));
        }
        outcome.completed = whole.then(|| last.saturating_duration_since(end));
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests;
