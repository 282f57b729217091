//! A client that moves between nodes, and all that it was told.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tavern_backend::{Cursor, LogTime, Position, Scope, TopicFilter};
use tavern_broker::{Broker, Delivery, GapReason, Subscription};
use tokio::time::Instant;

use super::trace::Trace;

/// A client and its record.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: usize,
    pub(super) filters: Vec<TopicFilter>,
    pub(super) scope: Option<Scope>,
    pub(super) stream: Option<Subscription>,
    /// The slot of its node, and that node's link.
    pub(super) slot: usize,
    pub(super) link: usize,
    /// Its `Last-Event-ID`.
    pub(super) last: Option<Position>,
    /// A slow one reads so many at a time, with this between.
    pub(super) slow: Option<(usize, Duration)>,
    pub(super) reads_at: Instant,
    pub(super) record: Vec<Recorded>,
    batch: Vec<Delivery>,
}

/// Something that happened to a client.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) at: Duration,
    /// What the log's clock said.
    pub(super) log: LogTime,
    /// The link of the node.
    pub(super) link: usize,
    pub(super) item: Item,
}

#[derive(Debug, Clone)]
pub(super) enum Item {
    /// It opened a stream behind this.
    Connect(Option<Position>),
    Message {
        position: Position,
        lane: tavern_backend::Lane,
        text: Arc<str>,
    },
    Live {
        lane: tavern_backend::Lane,
        text: Arc<str>,
    },
    Gap {
        reason: GapReason,
        topics: Vec<TopicFilter>,
    },
    /// An event that only carries a cursor.
    Cursor(Position),
    /// A heartbeat would have said so.
    Silent(Position),
    Reconnected {
        delivered: u64,
        dropped: u64,
        complete: bool,
        position: Position,
    },
    Truncated {
        dropped: u64,
    },
    Degraded,
    Recovered,
    Closing,
    /// It is gone, or its node is.
    Left,
    /// It begins or ends to read slowly.
    Slow(bool),
}

impl Client {
    pub(super) fn new(name: usize, filters: Vec<TopicFilter>, scope: Option<Scope>) -> Self {
        Self {
            name,
            filters,
            scope,
            stream: None,
            slot: 0,
            link: 0,
            last: None,
            slow: None,
            reads_at: Instant::now(),
            record: Vec::new(),
            batch: Vec::new(),
        }
    }

    /// Opens a stream on a node, behind what it had last.
    pub(super) fn connect(
        &mut self,
        broker: &Broker,
        (slot, link): (usize, usize),
        note: &Note<'_>,
    ) {
        self.leave(note);
        let mut subscribe = broker.subscribe(self.filters.iter().cloned());
        if let Some(scope) = &self.scope {
            subscribe = subscribe.scope(scope.clone());
        }
        let Ok(stream) = subscribe.resume(self.last.map(Cursor)).open() else { return };
        self.stream = Some(stream);
        (self.slot, self.link) = (slot, link);
        self.note(note, Item::Connect(self.last));
    }

    /// Goes away, from one moment to the next.
    pub(super) fn leave(&mut self, note: &Note<'_>) {
        if let Some(stream) = self.stream.take() {
            // The last heartbeat may have told it where the log stood.
            if let Some(Cursor(at)) = stream.cursor().filter(|_| note.heartbeat) {
                self.last = Some(at);
                self.note(note, Item::Silent(at));
            }
            self.note(note, Item::Left);
        }
    }

    /// Takes what there is. Returns when it reads again, if it is slow.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, note: &Note<'_>) -> Option<Instant> {
        loop {
            let now = Instant::now();
            if self.slow.is_some() && now < self.reads_at {
                return Some(self.reads_at);
            }
            let most = self.slow.map_or(64, |(most, _)| most);
            let stream = self.stream.as_mut()?;
            let mut batch = std::mem::take(&mut self.batch);
            let polled = stream.poll_batch(cx, &mut batch, most);
            for delivery in batch.drain(..) {
                self.take(delivery, note);
            }
            self.batch = batch;
            match polled {
                Poll::Ready(0) => {
                    self.stream = None;
                    self.note(note, Item::Left);
                    return None;
                }
                Poll::Ready(_) => {
                    if let Some((_, pause)) = self.slow {
                        self.reads_at = now + pause;
                    }
                }
                Poll::Pending => return None,
            }
        }
    }

    fn take(&mut self, delivery: Delivery, note: &Note<'_>) {
        if let Some(Cursor(at)) = delivery.cursor() {
            self.last = Some(at);
        }
        let item = match delivery {
            Delivery::Message(message) => {
                let (lane, text) = (message.envelope().lane(), Arc::from(message.data().as_str()));
                match message.cursor() {
                    Some(Cursor(position)) => Item::Message { position, lane, text },
                    None => Item::Live { lane, text },
                }
            }
            Delivery::Cursor(Cursor(position)) => Item::Cursor(position),
            Delivery::Gap(mut gap) => {
                gap.topics.sort_unstable();
                let topics = gap.topics.iter().filter_map(|t| TopicFilter::new(t).ok()).collect();
                Item::Gap { reason: gap.reason, topics }
            }
            Delivery::Truncated(truncated) => Item::Truncated { dropped: truncated.dropped },
            Delivery::Reconnected(end) => Item::Reconnected {
                delivered: end.delivered,
                dropped: end.dropped,
                complete: end.complete,
                position: end.cursor.0,
            },
            Delivery::Degraded(_) => Item::Degraded,
            Delivery::Recovered(_) => Item::Recovered,
            Delivery::Closing(_) => Item::Closing,
            _ => return,
        };
        self.note(note, item);
    }

    pub(super) fn note(&mut self, note: &Note<'_>, item: Item) {
        let (name, link, trace) = (self.name, self.link, note.trace);
        let at = |position: &Position| trace.at(*position);
        match &item {
            Item::Connect(None) => trace.say(format_args!("client {name} comes to link {link}")),
            Item::Connect(Some(p)) => {
                trace.say(format_args!("client {name} resumes on link {link} behind {}", at(p)));
            }
            Item::Message { position, lane, text } => {
                let scope = lane.scope.as_ref().map_or("", Scope::as_str);
                let text = text.split(' ').next().unwrap_or_default();
                let (at, topic) = (at(position), &lane.topic);
                trace.say(format_args!("client {name} has {at} {topic} {scope} {text}"));
            }
            Item::Live { lane, text } => {
                let text = text.split(' ').next().unwrap_or_default();
                trace.say(format_args!("client {name} has {} {text}, live", lane.topic));
            }
            Item::Gap { reason, topics } => {
                let topics: Vec<_> = topics.iter().map(TopicFilter::as_str).collect();
                trace.say(format_args!("client {name} is told of a gap: {reason:?} {topics:?}"));
            }
            Item::Cursor(p) => trace.say(format_args!("client {name} stands at {}", at(p))),
            Item::Silent(p) => trace.say(format_args!("client {name} knows {}", at(p))),
            Item::Reconnected { delivered, dropped, complete, position } => {
                trace.say(format_args!(
                    "client {name} is back at {}: {delivered} delivered, {dropped} dropped, {}",
                    at(position),
                    if *complete { "complete" } else { "incomplete" }
                ))
            }
            other => trace.say(format_args!("client {name}: {other:?}")),
        }
        self.record.push(Recorded { at: trace.now(), log: note.log, link, item });
    }
}

/// What a client cannot know of the moment.
#[derive(Debug)]
pub(super) struct Note<'a> {
    pub(super) trace: &'a Trace,
    pub(super) log: LogTime,
    /// Whether the last heartbeat told where the log stood.
    pub(super) heartbeat: bool,
}
