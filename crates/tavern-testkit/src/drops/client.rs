//! One client of an event stream, as a browser is one: it keeps its last event id.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;
use tavern_sse::{Item, Parser};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Drops, Site, Tally};
use crate::recorder::Event;

/// How far it is.
#[derive(Debug, Clone)]
pub(super) enum Course {
    /// Clients connect.
    Opening,
    /// It began then.
    Running(Instant),
    /// All is published: so many for each topic.
    Published(Arc<Vec<u64>>),
    /// Nothing more is waited for.
    Over,
}

/// What becomes of one client.
pub(super) struct Record {
    pub(super) tally: Tally,
    pub(super) cuts: u64,
    /// When it had everything.
    pub(super) complete: Option<Instant>,
}

pub(super) struct Client {
    http: reqwest::Client,
    nodes: Vec<String>,
    node: usize,
    path: String,
    opens_with_id: bool,
    topic: usize,
    parser: Parser,
    /// What the server last asked to wait before coming back without having been cut off.
    retry: Duration,
    away: Duration,
    moves: bool,
    /// The next one first.
    cuts: std::vec::IntoIter<Duration>,
    courses: watch::Receiver<Course>,
    begun: Option<Instant>,
    last: Instant,
    record: Record,
}

/// Why a stream is read no further.
enum End {
    /// The client is cut off.
    Cut,
    /// The server ended it, or cannot be reached.
    Lost,
    Over,
}

impl Client {
    pub(super) fn new(
        drops: &Drops,
        site: &Site,
        n: usize,
        cuts: Vec<Duration>,
        http: reqwest::Client,
        courses: watch::Receiver<Course>,
    ) -> Self {
        let topic = n % drops.topics;
        Self {
            http,
            nodes: site.nodes.clone(),
            // Each topic has clients on each node.
            node: n / drops.topics % site.nodes.len(),
            path: format!("{}{}", site.events, drops.topic(topic)),
            opens_with_id: site.opens_with_id,
            topic,
            parser: Parser::new(),
            retry: Duration::from_millis(100),
            away: drops.cut,
            moves: drops.moves,
            cuts: cuts.into_iter(),
            courses,
            begun: None,
            last: Instant::now(),
            record: Record { tally: Tally::default(), cuts: 0, complete: None },
        }
    }

    pub(super) async fn run(
        mut self,
        doors: &Semaphore,
        opened: &watch::Sender<usize>,
        completed: &watch::Sender<usize>,
    ) -> Record {
        // Never closed: a failure would only let it in at once.
        let mut door = doors.acquire().await.ok();
        let mut next_cut = self.cuts.next();
        loop {
            let end = match self.connect().await {
                None => End::Lost,
                Some(response) => {
                    let mut is_open = |client: &Self| {
                        let known = !client.opens_with_id;
                        if (known || !client.parser.last_event_id().is_empty())
                            && door.take().is_some()
                        {
                            opened.send_modify(|n| *n += 1);
                        }
                    };
                    is_open(&self);
                    self.read(response, next_cut, is_open, completed).await
                }
            };
            self.parser.restart();
            match end {
                End::Over => return self.record,
                End::Cut => {
                    next_cut = self.cuts.next();
                    self.record.cuts += 1;
                    sleep(self.away).await;
                    if self.moves {
                        self.node = (self.node + 1) % self.nodes.len();
                    }
                }
                End::Lost if matches!(*self.courses.borrow(), Course::Over) => return self.record,
                End::Lost => sleep(self.retry).await,
            }
        }
    }

    async fn connect(&self) -> Option<Response> {
        let mut request = self.http.get(format!("{}{}", self.nodes[self.node], self.path));
        request = request.header("accept", "text/event-stream");
        let id = self.parser.last_event_id();
        if !id.is_empty() {
            request = request.header("last-event-id", id);
        }
        request.send().await.ok()?.error_for_status().ok()
    }

    /// Reads until the stream ends, or the client is cut off, or all is over.
    async fn read(
        &mut self,
        mut response: Response,
        cut: Option<Duration>,
        mut is_open: impl FnMut(&Self),
        completed: &watch::Sender<usize>,
    ) -> End {
        loop {
            let course = self.courses.borrow_and_update().clone();
            match &course {
                Course::Opening => {}
                Course::Running(begun) => self.begun = Some(*begun),
                Course::Published(published) => self.look(published, completed),
                Course::Over => return End::Over,
            }
            let at = self.begun.zip(cut).map(|(begun, cut)| begun + cut);
            let chunk = tokio::select! {
                chunk = response.chunk() => chunk,
                () = sleep_until(at.unwrap_or(self.last)), if at.is_some() => return End::Cut,
                // The sender lives until all clients have ended.
                _ = self.courses.changed() => continue,
            };
            let Ok(Some(chunk)) = chunk else { return End::Lost };
            self.take(&chunk);
            is_open(self);
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        for item in self.parser.push(chunk) {
            let event = match item {
                Ok(Item::Retry(retry)) => {
                    self.retry = retry;
                    continue;
                }
                Ok(Item::Block(block)) => Event::of(&block),
                Ok(_) => None,
                Err(_) => {
                    self.record.tally.foreign += 1;
                    None
                }
            };
            let Some(event) = event else { continue };
            self.last = Instant::now();
            match event.name.as_str() {
                "tavern-replay-gap" | "tavern-replay-truncated" => self.record.tally.gap(),
                name if name.starts_with("tavern-") => {}
                _ => self.record.tally.message(self.topic, &event.data),
            }
        }
    }

    fn look(&mut self, published: &[u64], completed: &watch::Sender<usize>) {
        if self.record.complete.is_none() && self.record.tally.delivered == published[self.topic] {
            self.record.complete = Some(self.last);
            completed.send_modify(|n| *n += 1);
        }
    }
}
