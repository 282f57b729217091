//! A subscriber: a cursor over the log, not a queue.
//!
//! ```text
//!   open ──► Opening ──────────────► Live ─────────► Ended
//!            interest confirmed,      ▲   │ fell off the ring
//!            head asked, gap,         │   ▼
//!            snapshot, history     CatchUp: history until the ring can go on
//! ```
//!
//! What needs the backend (opening, catching up) is one future, polled by who polls the
//! subscription: there is no task per subscriber. It hands its deliveries over in a channel of
//! a few batches, so that a slow client slows its own reading down and nothing else.

mod builder;
mod catch_up;
mod cut;
mod direct;
mod discarded;
mod gaps;
mod live;
mod opening;
mod shared;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::future::BoxFuture;
use tavern_backend::{Cursor, Position, Scope, TopicFilter};
use tokio::sync::mpsc;

use crate::delivery::Delivery;
use crate::interest::Interested;
use crate::pages::Wanted;
use crate::ring::{Following, Got, Limit};
use crate::shared::Node;

pub use builder::{IntoLastEventId, Subscribe};
use direct::Inbox;
pub use direct::StreamHandle;
use gaps::Replay;
pub use shared::Deliveries;

/// Deliveries in one batch of a stream that is polled item by item.
const BATCH: usize = 64;

/// An open subscription: a stream of [`Delivery`]. Dropping it ends it, at once and anywhere.
pub struct Subscription {
    wish: Arc<Wish>,
    following: Following,
    interested: Interested,
    state: State,
    /// The ring's offset that is read next.
    at: u64,
    /// Live messages below this offset were delivered.
    live_from: u64,
    /// Everything this client wants up to here was delivered. `None` until the stream is open.
    position: Option<Position>,
    /// What is being replayed, until it has been told to the client.
    replay: Option<Box<Replay>>,
    /// Topics of which a message was given up while the stream was away.
    missed: Vec<String>,
    /// Read and not yet given out, for who polls item by item.
    ready: std::vec::IntoIter<Delivery>,
    /// Kept for its allocation.
    got: Vec<Got>,
}

/// What the subscriber asked for.
#[derive(Debug)]
struct Wish {
    node: Arc<Node>,
    filters: Vec<TopicFilter>,
    scope: Option<Scope>,
    wanted: Wanted,
    inbox: Inbox,
}

enum State {
    /// Not live yet (again): the future does what has to wait.
    Away(Away),
    Live,
    Ended,
}

/// A stretch of the stream that comes from history.
struct Away {
    work: BoxFuture<'static, Handover>,
    deliveries: mpsc::Receiver<Vec<Delivery>>,
    done: Option<Handover>,
}

/// Where the ring goes on.
struct Handover {
    at: u64,
    position: Position,
    replay: Option<Box<Replay>>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("filters", &self.wish.filters)
            .field("scope", &self.wish.scope)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Subscription {
    /// Everything the client wants up to this cursor was delivered; it moves with the log even
    /// where nothing is delivered. `None` until the stream is open and any replay has ended, and
    /// while deliveries that were read together are still being handed out one by one.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let handed_out = self.ready.as_slice().is_empty();
        match self.state {
            State::Live if handed_out && self.replay.is_none() => self.position.map(Cursor),
            _ => None,
        }
    }

    /// The next delivery; `None` once the stream has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_one(cx)).await
    }

    /// Appends up to about `max` deliveries to `out`, waiting for at least one. Returns how many; 0
    /// once the stream has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn recv_many(&mut self, out: &mut Vec<Delivery>, max: usize) -> usize {
        poll_fn(|cx| self.poll_batch(cx, out, max)).await
    }

    /// Appends up to about `max` deliveries, and at least one, to `out`. Ready with how many once there is at least
    /// one; ready with 0 once the stream has ended.
    pub fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Delivery>,
        max: usize,
    ) -> Poll<usize> {
        self.poll_limited(cx, out, Limit::items(max))
    }

    fn poll_limited(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<Delivery>,
        limit: Limit,
    ) -> Poll<usize> {
        // Reading none at a time it would never come to an end.
        let limit = Limit { items: limit.items.max(1), ..limit };
        let before = out.len();
        out.extend(self.ready.by_ref().take(limit.items));
        let read = out.len();
        while out.len() == before {
            // Registered before looking: what comes after the look wakes this task.
            self.following.signal.register(cx.waker());
            self.wish.inbox.take(out);
            let waits = match self.state {
                State::Away(_) => self.poll_away(cx, out, limit.items),
                State::Live => self.poll_live(out, limit),
                State::Ended => return Poll::Ready(0),
            };
            if waits.is_pending() && out.len() == before {
                return Poll::Pending;
            }
        }
        self.tell(out, read);
        Poll::Ready(out.len() - before)
    }

    fn poll_one(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if let Some(delivery) = self.ready.next() {
            return Poll::Ready(Some(delivery));
        }
        let mut batch = Vec::new();
        match self.poll_batch(cx, &mut batch, BATCH) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(0) => Poll::Ready(None),
            Poll::Ready(_) => {
                self.ready = batch.into_iter();
                Poll::Ready(self.ready.next())
            }
        }
    }

    /// Works on what has to wait. Pending if it still has to; ready if the state changed.
    fn poll_away(&mut self, cx: &mut Context<'_>, out: &mut Vec<Delivery>, max: usize) -> Poll<()> {
        let before = out.len();
        let State::Away(away) = &mut self.state else { return Poll::Ready(()) };
        if away.done.is_none()
            && let Poll::Ready(handover) = away.work.as_mut().poll(cx)
        {
            away.done = Some(handover);
        }
        // The work is the only sender, and was polled just now. Not `poll_recv`: it says that there
        // is nothing where the task has only used up its turn, and what is there would be lost.
        while let Ok(batch) = away.deliveries.try_recv() {
            out.extend(batch);
            if out.len() - before >= max {
                return Poll::Pending;
            }
        }
        // Emptied: had the work waited for room, it is polled again once this batch is taken.
        let handover = away.done.take();
        self.read_live_topics(out, max);
        if let Some(Handover { at, position, replay }) = handover {
            self.live_from = self.at;
            self.at = at;
            self.position = Some(position);
            self.replay = replay;
            self.state = State::Live;
            self.tell_missed(out);
            return Poll::Ready(());
        }
        if self.wish.node.ring.is_closing() {
            self.end(out);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn end(&mut self, out: &mut Vec<Delivery>) {
        let spread = self.wish.node.config.close_spread;
        self.wish.inbox.close(out);
        out.push(Delivery::Closing(spread.mul_f64(crate::backoff::random_fraction())));
        self.state = State::Ended;
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll_one(cx)
    }
}

#[cfg(test)]
mod tests;
