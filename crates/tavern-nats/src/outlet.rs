//! The way into the node's feed. It never waits: nothing here depends on the feed being read, and a
//! node that only publishes never reads it.

use std::collections::VecDeque;
use std::time::Duration;

use tavern_backend::FeedEvent;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Bytes in the feed that nobody has taken yet, unless one batch has more.
const BYTES: usize = 64 << 20;
/// What an event costs besides its data.
const AROUND: usize = 256;
/// Between two complaints of being behind.
pub(crate) const COMPLAINTS: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Outlet {
    feed: mpsc::Sender<Vec<FeedEvent>>,
    /// Notices that found no room. No push overtakes them.
    owed: Vec<FeedEvent>,
    /// The sizes of the batches in the feed, oldest first.
    sizes: VecDeque<usize>,
    bytes: usize,
    /// Events that found no room since that was said last.
    dropped: u64,
    complained: Option<Instant>,
}

impl Outlet {
    pub(crate) fn new(feed: mpsc::Sender<Vec<FeedEvent>>) -> Self {
        let (owed, sizes) = (Vec::new(), VecDeque::new());
        Self { feed, owed, sizes, bytes: 0, dropped: 0, complained: None }
    }

    /// Hands on what was pushed, if there is room. What is missing is found by counting.
    pub(crate) fn give(&mut self, events: Vec<FeedEvent>) {
        if events.is_empty() {
            return;
        }
        self.count();
        let (count, size) = (crate::number::count(events.len()), events.iter().map(size).sum());
        let full = self.bytes > 0 && self.bytes + size > BYTES;
        if full || !self.owed.is_empty() || self.feed.try_send(events).is_err() {
            self.dropped = self.dropped.saturating_add(count);
            self.complain();
        } else {
            self.sizes.push_back(size);
            self.bytes += size;
        }
    }

    /// Takes a notice of the link, which is never dropped: [`pay`](Self::pay) hands it on.
    pub(crate) fn notice(&mut self, notice: FeedEvent) {
        // Of those that wait, a loss and the last return say it all.
        self.owed.retain(|owed| matches!(owed, FeedEvent::LinkLost { .. }));
        if self.owed.is_empty() || !matches!(notice, FeedEvent::LinkLost { .. }) {
            self.owed.push(notice);
        }
    }

    /// Waits until there is room for the notices and hands them on; for ever if there are none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was not handed on stays.
    pub(crate) async fn pay(&mut self) {
        if self.owed.is_empty() {
            return std::future::pending().await;
        }
        match self.feed.reserve().await {
            Ok(place) => {
                place.send(std::mem::take(&mut self.owed));
                self.sizes.push_back(0);
            }
            // Nobody will ever read it.
            Err(_) => self.owed.clear(),
        }
    }

    /// Forgets the batches that the reader has taken.
    fn count(&mut self) {
        let left = self.feed.max_capacity() - self.feed.capacity();
        while self.sizes.len() > left
            && let Some(size) = self.sizes.pop_front()
        {
            self.bytes -= size;
        }
    }

    /// Says, now and then, that this node is behind.
    fn complain(&mut self) {
        let lately = self.complained.is_some_and(|last| last.elapsed() < COMPLAINTS);
        if lately || self.feed.is_closed() {
            return;
        }
        let dropped = std::mem::take(&mut self.dropped);
        self.complained = Some(Instant::now());
        tracing::warn!(dropped, "this node is behind: pushes found no room, and are read instead");
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
