//! What comes in on the feed's connection, on its way to the node.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use futures_util::stream::ReadyChunks;
use tavern_backend::{FeedEvent, LiveMessage, Position, wire};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::body::{self, Body};
use crate::index::Seen;
use crate::log::View;
use crate::meta::Meta;
use crate::names::parse_lane;
use crate::outlet::Outlet;
use crate::shared::Shared;

/// Pushes taken apart at once.
const AT_ONCE: usize = 256;
/// No log gets so far ahead of what a node knows: who pushes such a seq is not the server.
const FAR: u64 = 1 << 40;

/// Something that happened to the link.
#[derive(Debug)]
pub(crate) enum Inbound {
    Lost(Arc<str>),
    /// It is back; what is pushed from now on comes from here.
    Restored(Position, Subscriber),
}

/// Takes pushes apart and hands them to the node.
#[derive(Debug)]
pub(crate) struct Decoder {
    shared: Arc<Shared>,
    link: mpsc::Receiver<Inbound>,
    pushes: Option<ReadyChunks<Subscriber>>,
    feed: Outlet,
}

impl Decoder {
    pub(crate) fn new(
        shared: Arc<Shared>,
        link: mpsc::Receiver<Inbound>,
        feed: mpsc::Sender<Vec<FeedEvent>>,
    ) -> Self {
        Self { shared, link, pushes: None, feed: Outlet::new(feed) }
    }

    pub(crate) async fn run(mut self, token: CancellationToken) {
        loop {
            let pushes = self.pushes.as_mut();
            let next = async move {
                match pushes {
                    Some(pushes) => pushes.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                inbound = self.link.recv() => {
                    self.feed.notice(match inbound {
                        None => return,
                        Some(Inbound::Lost(reason)) => {
                            self.pushes = None;
                            FeedEvent::LinkLost { reason }
                        }
                        Some(Inbound::Restored(head, pushes)) => {
                            self.pushes = Some(pushes.ready_chunks(AT_ONCE));
                            FeedEvent::LinkRestored { head }
                        }
                    });
                }
                () = self.feed.pay() => {}
                messages = next => match messages {
                    Some(messages) => self.take(messages),
                    // The link says so, too.
                    None => self.pushes = None,
                },
            }
        }
    }

    fn take(&mut self, messages: Vec<Message>) {
        let mut events = Vec::with_capacity(messages.len());
        let mut view = self.shared.view();
        for message in messages {
            let Some(rest) = message.subject.strip_prefix(self.shared.names.feed()) else {
                continue;
            };
            if let Some(rest) = rest.strip_prefix("log.") {
                if let Some(view) = &view
                    && let Some((log, name)) = rest.split_once('.')
                {
                    if log == view.meta.log {
                        self.entry(view, name, &message, &mut events);
                    } else {
                        events.extend(self.of_another_log(name, &message));
                    }
                }
            } else if rest.starts_with("live.") {
                events.extend(self.live(&message));
            } else if rest == "meta" {
                self.meta(view.as_deref(), &message);
                view = self.shared.view();
            }
        }
        self.feed.give(events);
    }

    fn entry(&self, view: &View, name: &str, message: &Message, events: &mut Vec<FeedEvent>) {
        let Some(seq) = sequence(message) else { return };
        if seq > self.shared.reached.load(Ordering::Acquire).saturating_add(FAR) {
            return;
        }
        let body = Body::parse(message.payload.clone());
        if let Some(body) = &body {
            let lineage = &view.lineage;
            let known = body.epoch == lineage.epoch
                || lineage.forks.iter().any(|fork| fork.parent == body.epoch);
            if !known {
                // A newer epoch than this node knows of: whoever reads what is missing learns it.
                return;
            }
        }
        self.shared.note_reached(seq);
        let lane = {
            let mut index = self.shared.index();
            let Some(index) = index.as_mut() else { return };
            let time = body.as_ref().map_or_else(|| self.shared.clock.now(), |body| body.appended);
            index.pushed(Seen { seq, name, time });
            index.lane(name)
        };
        let epoch = view.lineage.epoch;
        let wanted = lane.as_ref().is_none_or(|lane| {
            let interest = self.shared.interest.read();
            interest.unwrap_or_else(std::sync::PoisonError::into_inner).matches(&lane.topic)
        });
        if wanted {
            let position = Position::new(epoch, seq);
            events.push(body::event(position, lane.as_deref(), message.payload.clone()));
            return;
        }
        match events.last_mut() {
            Some(FeedEvent::Skip { epoch: last, to, .. })
                if *last == epoch && to.checked_add(1) == Some(seq) =>
            {
                *to = seq;
            }
            _ => events.push(FeedEvent::Skip { epoch, from: seq, to: seq }),
        }
    }

    /// Of a log that took the place of the one this node knows. It is handed on in the epoch that it
    /// names: who gets it asks for the head, and misses nothing from here on.
    fn of_another_log(&self, name: &str, message: &Message) -> Option<FeedEvent> {
        let seq = sequence(message)?;
        let epoch = Body::parse(message.payload.clone())?.epoch;
        let lane = parse_lane(name);
        let wanted = lane.as_ref().is_none_or(|lane| {
            let interest = self.shared.interest.read();
            interest.unwrap_or_else(std::sync::PoisonError::into_inner).matches(&lane.topic)
        });
        Some(if wanted {
            body::event(Position::new(epoch, seq), lane.as_ref(), message.payload.clone())
        } else {
            FeedEvent::Skip { epoch, from: seq, to: seq }
        })
    }

    fn live(&self, message: &Message) -> Option<FeedEvent> {
        let record = wire::decode(message.payload.clone()).ok()?;
        let (origin, envelope) = (record.origin, record.envelope);
        let interest = self.shared.interest.read();
        let wanted =
            interest.unwrap_or_else(std::sync::PoisonError::into_inner).matches(&envelope.topic);
        (wanted && origin.node != self.shared.node)
            .then_some(FeedEvent::Live(LiveMessage { origin, envelope }))
    }

    /// The log says something new of itself.
    fn meta(&self, view: Option<&View>, message: &Message) {
        let (Some(view), Some(revision)) = (view, sequence(message)) else { return };
        let next = Meta::parse(&message.payload)
            .and_then(|meta| self.shared.view_of(revision, meta, view.limits.clone()));
        match next {
            // Another log is looked at first: its stream is another one, too.
            Ok(next) if next.is_same_log(view) => {
                let head = next.lineage.forks.first().map_or(0, |fork| fork.at);
                let next = Arc::new(next);
                self.shared.set_view(&next, head.max(view.meta.horizon));
            }
            Ok(_) => {}
            Err(failure) => tracing::error!(reason = %failure.reason, "the log cannot be followed"),
        }
    }
}

fn sequence(message: &Message) -> Option<u64> {
    message.headers.as_ref()?.get("Nats-Sequence")?.as_str().parse().ok()
}
