//! The way into the node's feed. What is to be handed on waits here, not in who follows the log:
//! nothing else depends on the feed being read, and a node that only publishes never reads it.

use std::collections::VecDeque;

use tavern_backend::FeedEvent;
use tokio::sync::mpsc;

/// Bytes in the feed that nobody has taken yet, unless one batch has more.
const BYTES: usize = 64 << 20;
/// What an event costs besides its data.
const AROUND: usize = 256;

#[derive(Debug)]
pub(crate) struct Outlet {
    feed: mpsc::Sender<Vec<FeedEvent>>,
    /// What found no room yet: notices of the link, or what was read of the log.
    owed: Vec<FeedEvent>,
    /// The sizes of the batches in the feed, oldest first.
    sizes: VecDeque<usize>,
}

impl Outlet {
    pub(crate) fn new(feed: mpsc::Sender<Vec<FeedEvent>>) -> Self {
        Self { feed, owed: Vec::new(), sizes: VecDeque::new() }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Takes what was read: [`pay`](Self::pay) hands it on.
    pub(crate) fn give(&mut self, events: Vec<FeedEvent>) {
        self.owed.extend(events);
    }

    /// Takes a notice of the link. What was read before a loss and waits is given up: who reads the
    /// feed finds it by counting.
    pub(crate) fn notice(&mut self, notice: FeedEvent) {
        // Of notices that wait, a loss and the last return say it all.
        self.owed.retain(|owed| matches!(owed, FeedEvent::LinkLost { .. }));
        if self.owed.is_empty() || !matches!(notice, FeedEvent::LinkLost { .. }) {
            self.owed.push(notice);
        }
    }

    /// Waits until there is room for what waits here and hands it on; for ever if nothing does.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was not handed on stays.
    pub(crate) async fn pay(&mut self) {
        if self.owed.is_empty() {
            return std::future::pending().await;
        }
        let size = self.owed.iter().map(size).sum();
        let needed = self.needed(size);
        let Ok(mut places) = self.feed.reserve_many(needed).await else {
            // Nobody will ever read it.
            self.owed.clear();
            return;
        };
        if let Some(place) = places.next() {
            place.send(std::mem::take(&mut self.owed));
            self.sizes.push_back(size);
        }
    }

    /// How many places of the feed are free once the reader has taken enough for so many bytes.
    fn needed(&mut self, size: usize) -> usize {
        let places = self.feed.max_capacity();
        let queued = places - self.feed.capacity();
        self.sizes.drain(..self.sizes.len().saturating_sub(queued));
        let mut bytes = self.sizes.iter().sum::<usize>() + size;
        let mut left = self.sizes.len();
        for oldest in &self.sizes {
            if bytes <= BYTES {
                break;
            }
            bytes -= oldest;
            left -= 1;
        }
        (places - left).max(1)
    }
}

fn size(event: &FeedEvent) -> usize {
    let data = match event {
        FeedEvent::Entry(entry) => entry.record.envelope.data.len(),
        FeedEvent::Live(message) => message.envelope.data.len(),
        _ => 0,
    };
    data + AROUND
}

#[cfg(test)]
mod tests;
