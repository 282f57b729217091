//! Receiving what other subscribers receive too, without a reference to each message.

use std::future::poll_fn;
use std::ops::Deref;
use std::task::{Context, Poll, ready};

use tavern_backend::Position;

use super::{State, Subscription};
use crate::delivery::Delivery;
use crate::ring::{Limit, Part};

/// Deliveries in order: a slice, in one piece with what other subscribers get where that is the
/// same.
///
/// It keeps its messages in memory: do not hold it for longer than they are needed.
#[derive(Debug, Clone, Default)]
pub struct Deliveries(Held);

#[derive(Debug, Clone)]
enum Held {
    Own(Vec<Delivery>),
    Shared(Part),
}

impl Default for Held {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Deref for Deliveries {
    type Target = [Delivery];

    fn deref(&self) -> &[Delivery] {
        match &self.0 {
            Held::Own(deliveries) => deliveries,
            Held::Shared(part) => part.deliveries(),
        }
    }
}

impl<'a> IntoIterator for &'a Deliveries {
    type Item = &'a Delivery;
    type IntoIter = std::slice::Iter<'a, Delivery>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Subscription {
    /// Receives up to about `max` deliveries, waiting for at least one; none once the stream has
    /// ended. The same as [`recv_many`](Self::recv_many), and cheaper where many subscribers
    /// follow the same topic or the same filters.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn recv_shared(&mut self, max: usize) -> Deliveries {
        poll_fn(|cx| self.poll_shared(cx, max)).await
    }

    /// Receives up to about `max` deliveries. Ready with at least one; ready with none once the
    /// stream has ended.
    pub fn poll_shared(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<Deliveries> {
        self.poll_shared_within(cx, max, usize::MAX)
    }

    /// The same as [`poll_shared`](Self::poll_shared), and no more than about `bytes` bytes of
    /// messages unless the first alone is larger: what a slow client takes is kept in memory for
    /// it until it has it.
    pub fn poll_shared_within(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        bytes: usize,
    ) -> Poll<Deliveries> {
        let limit = Limit { items: max, bytes };
        if let Some(part) = self.share(cx, limit) {
            return Poll::Ready(Deliveries(Held::Shared(part)));
        }
        let mut own = Vec::new();
        ready!(self.poll_limited(cx, &mut own, limit));
        Poll::Ready(Deliveries(Held::Own(own)))
    }

    /// What the ring has for this subscriber and others.
    fn share(&mut self, cx: &Context<'_>, limit: Limit) -> Option<Part> {
        let live = matches!(self.state, State::Live);
        let here = self.position.filter(|_| live && self.replay.is_none() && limit.items > 0)?;
        if !self.ready.as_slice().is_empty() || !self.wish.node.ring.reaches_above(self.at) {
            return None;
        }
        // Registered before looking: what comes after the look wakes this task.
        self.following.signal.register(cx.waker());
        if self.wish.inbox.is_filled() {
            return None;
        }
        let (part, at) = self.wish.node.ring.share(&self.following.follow, self.at, here, limit)?;
        let last = part.deliveries().iter().rev().find_map(Delivery::cursor)?;
        self.at = at;
        self.position = Some(Position::new(here.epoch, last.0.seq));
        Some(part)
    }
}

#[cfg(test)]
mod tests;
