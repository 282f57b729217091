//! The proof by chaos: hubs on a real engine behind a [proxy](crate::proxy), clients that move,
//! publishers, and faults at random, judged by what was published and what clients were told.
//!
//! `scripts/chaos` runs it. A run is repeated by its engine, time and [`seed`](Chaos::seed): these
//! make the [`Plan`]. What the operating system does in between is not part of it.

mod client;
mod ground;
mod plan;
mod publisher;
mod report;
mod topics;
mod watch;

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch as news;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::hub::Hub;
use crate::oracle::Ledger;
use client::{Client, Stage};
use ground::Ground;
pub use plan::{Engine, Fault, Plan, Step};
pub use publisher::Answers;
use publisher::Publisher;
pub use report::{Happened, Report, Times};
use watch::{Watched, What};

/// How long hubs may take to be ready again after a fault, and clients to get what is left.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much later than its TTL a message may reach a client: hubs are stopped, and so is the
/// network to their engine, but not that to the clients.
const SLACK: Duration = Duration::from_secs(5);

/// A run of chaos.
#[derive(Debug, Clone)]
pub struct Chaos {
    /// What the hubs stand on.
    pub engine: Engine,
    /// How long faults happen.
    pub time: Duration,
    /// Repeats the same faults, and the same choices of clients and publishers.
    pub seed: u64,
    /// Hubs.
    pub hubs: usize,
    /// Streams.
    pub clients: usize,
    /// Publishers.
    pub publishers: usize,
    /// Messages in a second, all publishers together.
    pub rate: u32,
}

impl Chaos {
    /// Three hubs, 240 streams, four publishers with 100 messages a second.
    #[must_use]
    pub fn new(engine: Engine, time: Duration, seed: u64) -> Self {
        Self { engine, time, seed, hubs: 3, clients: 240, publishers: 4, rate: 100 }
    }

    /// What will happen.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan::new(self.engine, self.hubs, self.time, self.seed)
    }

    /// Runs it with hubs of `binary` in the empty directory `dir`, where their logs are, too.
    ///
    /// # Errors
    ///
    /// If something cannot be started, or does not end.
    ///
    /// # Panics
    ///
    /// If a hub does not answer.
    pub async fn run(&self, binary: &Path, dir: &Path) -> io::Result<Report> {
        let begun = Instant::now();
        let mut ground = Ground::start(self.engine, dir).await?;
        std::fs::write(dir.join("tavern.toml"), settings(&ground.url()))?;
        let mut hubs = Vec::new();
        for n in 0..self.hubs {
            let log = dir.join(format!("hub-{n}.log"));
            hubs.push(Hub::start_logging(binary, dir, &log).await?);
        }
        let watched = hubs.iter().map(|hub| Watched::new(hub.url())).collect::<Vec<_>>();
        let mut watching = JoinSet::new();
        for hub in &watched {
            watching.spawn(Arc::clone(hub).ask());
            watching.spawn(Arc::clone(hub).feel());
            watching.spawn(Arc::clone(hub).listen());
        }
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let stage = news::Sender::new(Stage::Going);
        let (opened, mut opening) = news::channel(0_usize);
        let mut clients = JoinSet::new();
        for n in 0..self.clients {
            let (wish, hubs, opened) = (topics::wish(n), watched.clone(), opened.clone());
            clients.spawn(Client::run(wish, hubs, rng.fork(), opened, stage.subscribe()));
        }
        let all = self.clients;
        // A client whose record is wrong before it is open is told in the end.
        let _ = tokio::time::timeout(PATIENCE, opening.wait_for(|n| *n == all)).await;

        let ledger = Arc::new(Mutex::new(Ledger::new()));
        let publisher = |rng| Publisher {
            hubs: watched.clone(),
            ledger: Arc::clone(&ledger),
            rng,
            rate: f64::from(self.rate) / f64::from(u32::try_from(self.publishers).unwrap_or(1)),
            http: reqwest::Client::new(),
            answers: Answers::default(),
            wrong: Vec::new(),
        };
        let mut publishers = JoinSet::new();
        for _ in 0..self.publishers {
            publishers.spawn(publisher(rng.fork()).run(stage.subscribe()));
        }
        let mut report = Report::new(self);
        self.play(&mut ground, &mut hubs, &watched, &mut report).await?;

        stage.send_replace(Stage::Ending);
        let over = stage.clone();
        let clock = tokio::time::sleep(2 * PATIENCE);
        let end = async {
            let mut done = publishers.join_all().await;
            let mut last = publisher(fastrand::Rng::with_seed(self.seed));
            last.finish(&stage.subscribe()).await;
            done.push(last);
            (done, clients.join_all().await)
        };
        tokio::pin!(clock, end);
        let (done, clients) = loop {
            tokio::select! {
                ended = &mut end => break ended,
                () = &mut clock, if *over.borrow() != Stage::Over => {
                    over.send_replace(Stage::Over);
                }
            }
        };
        for publisher in done {
            report.add_publisher(&publisher.answers, publisher.wrong);
        }
        report.flaps = watched.iter().map(|hub| hub.flaps.load(Relaxed)).sum();
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        for client in &clients {
            ledger.learn(&client.record);
        }
        for client in clients {
            report.add_client(&client, ledger.judge(&client.record, SLACK));
        }
        report.add_ledger(&ledger);
        report.took = begun.elapsed();
        Ok(report)
    }

    /// Lets things happen until the time is over.
    async fn play(
        &self,
        ground: &mut Ground,
        hubs: &mut [Hub],
        watched: &[Arc<Watched>],
        report: &mut Report,
    ) -> io::Result<()> {
        let begun = Instant::now();
        for step in self.plan().steps {
            if begun.elapsed() >= self.time {
                break;
            }
            tokio::time::sleep(step.calm).await;
            let (hub, seen) = (&mut hubs[step.hub], &watched[step.hub]);
            let at = Instant::now();
            match step.fault {
                Fault::HubKilled => {
                    seen.away.store(true, Relaxed);
                    seen.deaths.fetch_add(1, Relaxed);
                    hub.kill().await?;
                }
                Fault::HubStopped => {
                    seen.away.store(true, Relaxed);
                    hub.signal("STOP").await?;
                }
                fault => ground.begin(fault).await?,
            }
            tokio::time::sleep(step.lasts).await;
            let end = Instant::now();
            match step.fault {
                Fault::HubKilled => hub.restart().await?,
                Fault::HubStopped => hub.signal("CONT").await?,
                fault => ground.end(fault).await?,
            }
            seen.away.store(false, Relaxed);
            // A hub that has not noticed yet says that it is ready.
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            let ready = async {
                while !watched.iter().all(|hub| hub.ready.load(Relaxed)) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            if tokio::time::timeout(PATIENCE, ready).await.is_err() {
                report.wrong.push(format!("hubs are not ready {PATIENCE:?} after {}", step.fault));
            }
            report.add_fault(step.fault, &happened(watched, at, end));
        }
        Ok(())
    }
}

/// What hubs said of a fault that began and ended then: a hub each.
fn happened(watched: &[Arc<Watched>], at: Instant, end: Instant) -> Vec<Happened> {
    let mut all = Vec::new();
    for hub in watched {
        let seen = hub.seen_since(at);
        let first = |like: fn(&What) -> bool| seen.iter().find(|seen| like(&seen.what));
        let last = |like: fn(&What) -> bool| seen.iter().rfind(|seen| like(&seen.what));
        let found = first(|what| matches!(what, What::Unready(_)));
        let told = first(|what| matches!(what, What::Degraded));
        let ready = last(|what| matches!(what, What::Ready)).filter(|_| found.is_some());
        all.push(Happened {
            found: found.map(|seen| seen.at - at),
            told: told.map(|seen| seen.at - at),
            ready: ready.map(|seen| seen.at.saturating_duration_since(end)),
            why: found.and_then(|seen| match &seen.what {
                What::Unready(why) => Some(why.clone()),
                _ => None,
            }),
        });
    }
    all
}

/// The hubs' configuration: what is kept of deep topics is missed by nobody, of shallow ones by who
/// is away for seconds.
fn settings(url: &str) -> String {
    let rule = |topics: &str, keep: u32| {
        format!("[[retention]]\ntopics = \"{topics}\"\nkeep = {keep}\nage = \"3h\"\n")
    };
    let rules = rule("chaos/shallow/*", topics::SHALLOW) + &rule("**", 1_000_000);
    format!("backend = {url:?}\n{rules}")
}

#[cfg(test)]
mod tests;
