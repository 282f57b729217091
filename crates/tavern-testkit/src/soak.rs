//! The long run: publishers, clients that move, and hubs or their engine being killed, judged by the
//! oracle.

mod trouble;

use std::path::Path;
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::hub::Hub;
use crate::oracle::Oracle;
use crate::recorder::SseRecorder;
use crate::wait::within;

pub use trouble::Trouble;

/// How large a soak is.
#[derive(Debug, Clone)]
pub struct Soak {
    /// Publisher processes.
    pub publishers: usize,
    /// Messages of each publisher; a multiple of `topics`.
    pub messages: u64,
    /// Topics, in groups of five: `soak/GROUP/TOPIC`.
    pub topics: usize,
    /// Clients: every third follows one topic, three topics, a wildcard.
    pub clients: usize,
    /// Longest pause of a publisher after a batch: the run should outlast many kills.
    pub pause: Duration,
    /// Time between two troubles.
    pub every: Duration,
    /// The backend of the hubs; `None` for their default.
    pub backend: Option<String>,
    /// When it has failed.
    pub limit: Duration,
    /// Repeats the same choices.
    pub seed: u64,
}

/// What came of a soak.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Messages that clients received, all together.
    pub received: u64,
    /// Messages that there were for them.
    pub expected: u64,
    /// Clients whose record is complete, in order and without duplicates.
    pub complete: usize,
    /// Times a client dropped its connection, or lost it.
    pub moves: u64,
    /// Gaps that clients were told of.
    pub gaps: u64,
    /// Streams that ended although neither their client nor a killed hub ended them.
    pub ended: u64,
    /// How often something was killed, stopped or cut.
    pub troubles: u64,
    /// What was wrong, by client.
    pub wrong: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Messages in one request of a publisher.
const BATCH: u64 = 20;

impl Soak {
    /// All topics.
    #[must_use]
    pub fn all_topics(&self) -> Vec<String> {
        (0..self.topics).map(|n| format!("soak/{}/{n}", n / 5)).collect()
    }

    fn each(&self) -> u64 {
        self.messages / u64::try_from(self.topics).unwrap_or(1)
    }

    /// The filters of a client, and the topics they match.
    fn wishes(&self, client: usize) -> (Vec<String>, Vec<String>) {
        let all = self.all_topics();
        let n = client / 3;
        let exact = |n: usize| all[n % all.len()].clone();
        match client % 3 {
            0 => (vec![exact(n)], vec![exact(n)]),
            1 => {
                let three = vec![exact(n), exact(n + 7), exact(n + 13)];
                (three.clone(), three)
            }
            _ if n.is_multiple_of(4) => (vec!["soak/**".to_owned()], all),
            _ => {
                let group = format!("soak/{}/", n % self.topics.div_ceil(5));
                let topics = all.into_iter().filter(|t| t.starts_with(&group)).collect();
                (vec![format!("{group}*")], topics)
            }
        }
    }

    /// Runs it with two hubs of `binary` in the empty directory `dir`. `publisher` starts the
    /// process of a publisher: it is given its number and the urls of the hubs, and shall call
    /// [`Soak::publish`]. `trouble` happens all the while.
    ///
    /// # Errors
    ///
    /// If a process cannot be started.
    ///
    /// # Panics
    ///
    /// If a hub does not answer.
    pub async fn run(
        self,
        binary: &Path,
        dir: &Path,
        publisher: impl Fn(usize, &[String]) -> std::io::Result<Child>,
        mut trouble: Trouble<'_>,
    ) -> std::io::Result<Outcome> {
        let begun = Instant::now();
        // All of it is kept: what a client misses is then nobody's fault but the hub's.
        let backend = self.backend.iter().map(|url| format!("backend = {url:?}\n"));
        let rules = "[[retention]]\ntopics = \"**\"\nkeep = 1000000\nage = \"1h\"\n";
        let settings = backend.chain([rules.to_owned()]).collect::<String>();
        std::fs::write(dir.join("tavern.toml"), settings)?;
        let mut hubs = [Hub::start(binary, dir).await?, Hub::start(binary, dir).await?];
        let urls = hubs.iter().map(Hub::url).collect::<Vec<_>>();
        let (opened, mut opening) = watch::channel(0_usize);
        let mut clients = JoinSet::new();
        for client in 0..self.clients {
            let (soak, urls, opened) = (self.clone(), urls.clone(), opened.clone());
            clients.spawn(async move { soak.client(client, &urls, &opened, begun).await });
        }
        let all = self.clients;
        let _ = within("every client's opening cursor", opening.wait_for(|n| *n == all)).await;
        let mut publishers = (0..self.publishers)
            .map(|n| publisher(n, &urls))
            .collect::<std::io::Result<Vec<_>>>()?;
        let mut outcome = Outcome::default();
        let mut published = false;
        while !published && begun.elapsed() < self.limit {
            tokio::time::sleep(self.every).await;
            trouble.next(outcome.troubles, &mut hubs).await?;
            outcome.troubles += 1;
            published = publishers.iter_mut().all(|p| matches!(p.try_wait(), Ok(Some(_))));
        }
        for (n, publisher) in publishers.iter_mut().enumerate() {
            match publisher.try_wait()? {
                Some(status) if status.success() => {}
                other => outcome.wrong.push(format!("publisher {n} ended with {other:?}")),
            }
        }
        for record in clients.join_all().await {
            outcome.received += record.oracle.received();
            outcome.expected += record.oracle.expected();
            outcome.gaps += record.oracle.gaps();
            outcome.moves += record.moves;
            outcome.ended += record.ended;
            match record.wrong {
                Some(wrong) => outcome.wrong.push(wrong),
                None => outcome.complete += 1,
            }
        }
        if trouble.kills_hubs() {
            outcome.ended = 0;
        }
        outcome.took = begun.elapsed();
        Ok(outcome)
    }

    async fn client(
        &self,
        client: usize,
        urls: &[String],
        opened: &watch::Sender<usize>,
        begun: Instant,
    ) -> Record {
        let mut rng = fastrand::Rng::with_seed(self.seed.wrapping_add(client as u64));
        let (filters, topics) = self.wishes(client);
        let mut recorder = SseRecorder::new(&filters);
        let mut oracle = Oracle::new(topics, self.publishers, self.each());
        let (mut moves, mut ended, mut is_open) = (0, 0, false);
        loop {
            let failed = begun.elapsed() >= self.limit;
            if failed || oracle.is_complete() {
                let (received, expected) = (oracle.received(), oracle.expected());
                let wrong = (received != expected).then(|| {
                    format!(
                        "client {client} {filters:?} has {received} of {expected}, {} gaps",
                        oracle.gaps()
                    )
                });
                return Record { oracle, moves, ended, wrong };
            }
            let url = &urls[rng.usize(0..urls.len())];
            if recorder.connect(url).await.is_err() {
                // The hub is being killed; a browser would wait too.
                tokio::time::sleep(Duration::from_millis(rng.u64(20..80))).await;
                continue;
            }
            let stays = Duration::from_millis(rng.u64(20..1500));
            let until = tokio::time::sleep(stays);
            tokio::pin!(until);
            loop {
                let events = tokio::select! {
                    events = recorder.next() => events,
                    () = &mut until => break,
                };
                let Some(events) = events else {
                    ended += 1;
                    break;
                };
                for event in events {
                    if let Err(wrong) = oracle.take(&event) {
                        let wrong = Some(format!("client {client} {filters:?}: {wrong}"));
                        return Record { oracle, moves, ended, wrong };
                    }
                }
                if !is_open && !recorder.last_event_id().is_empty() {
                    is_open = true;
                    opened.send_modify(|n| *n += 1);
                }
                if oracle.is_complete() {
                    break;
                }
            }
            moves += 1;
        }
    }

    /// What a publisher process does: publishes its messages, each with an id, and sends what was
    /// not answered, or spooled by a hub that may be killed, again until it is stored.
    ///
    /// # Errors
    ///
    /// If a message is refused for good, or the time is up.
    pub async fn publish(&self, publisher: usize, urls: &[String]) -> Result<(), String> {
        let http = reqwest::Client::new();
        let (topics, begun) = (self.all_topics(), Instant::now());
        let mut rng =
            fastrand::Rng::with_seed(self.seed.wrapping_mul(31).wrapping_add(publisher as u64));
        let count = u64::try_from(topics.len()).map_err(|e| e.to_string())?;
        let mut next = 0;
        while next < self.messages {
            let end = (next + BATCH).min(self.messages);
            let body = (next..end).map(|n| {
                let topic = &topics[usize::try_from(n % count).unwrap_or(0)];
                let data = format!("{topic} {publisher} {}", n / count);
                let id = format!("{publisher}-{n}");
                serde_json::json!({ "topic": topic, "data": data, "id": id }).to_string() + "\n"
            });
            let body = body.collect::<String>();
            while !self.send(&http, &urls[rng.usize(0..urls.len())], body.clone()).await? {
                if begun.elapsed() > self.limit {
                    return Err(format!("message {next} was not stored in time"));
                }
                tokio::time::sleep(Duration::from_millis(rng.u64(10..60))).await;
            }
            next = end;
            tokio::time::sleep(self.pause.mul_f64(rng.f64())).await;
        }
        Ok(())
    }

    /// Whether all of it is in the log now.
    async fn send(&self, http: &reqwest::Client, url: &str, body: String) -> Result<bool, String> {
        let asked = body.lines().count();
        let request = http.post(format!("{url}/publish")).timeout(Duration::from_secs(10));
        let request = request.header("content-type", "application/x-ndjson").body(body);
        let Ok(answer) = request.send().await else { return Ok(false) };
        let Ok(bytes) = answer.bytes().await else { return Ok(false) };
        // One outcome a line, as it was asked.
        let outcomes = serde_json::Deserializer::from_slice(&bytes).into_iter();
        let (mut stored, mut answered) = (true, 0);
        for outcome in outcomes {
            let Ok::<serde_json::Value, _>(outcome) = outcome else { return Ok(false) };
            answered += 1;
            match outcome["status"].as_str() {
                Some("stored" | "duplicate") => {}
                Some("rejected") if outcome["retryable"] != true => return Err(outcome.to_string()),
                _ => stored = false,
            }
        }
        Ok(stored && answered == asked)
    }
}

struct Record {
    oracle: Oracle,
    moves: u64,
    ended: u64,
    wrong: Option<String>,
}
