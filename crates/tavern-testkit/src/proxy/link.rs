//! A hand on one connection.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::carry::{End, Orders};
use super::conditions::{Conditions, Side};

/// How much of what the client said first is remembered.
const REMEMBERED: usize = 16 * 1024;

/// A hand on one connection through a [`Proxy`](super::Proxy). It does not keep it open.
#[derive(Debug, Clone)]
pub struct Link {
    orders: watch::Sender<Orders>,
    /// What the client said first.
    said: Arc<Mutex<Vec<u8>>>,
}

impl Link {
    pub(super) fn new(orders: Orders) -> (Self, watch::Receiver<Orders>) {
        let (orders, received) = watch::channel(orders);
        (Self { orders, said: Arc::default() }, received)
    }

    /// Whether the client said `words` in the first 16 KiB that it sent: tells a node's feed, which
    /// subscribes, from its other connections.
    #[must_use]
    pub fn said(&self, words: &str) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.windows(words.len().max(1)).any(|part| part == words.as_bytes())
    }

    /// Lets it be like this from now on.
    pub fn set(&self, conditions: Conditions) {
        self.orders.send_modify(|orders| orders.conditions = conditions);
    }

    /// Ends it: both ends are told.
    pub fn cut(&self) {
        self.end(End::Cut);
    }

    /// Resets it: both ends see an error.
    pub fn reset(&self) {
        self.end(End::Reset);
    }

    /// Ends it towards `side`; the other side is not told, and what it sends vanishes.
    pub fn half_open(&self, side: Side) {
        self.end(End::HalfOpen(side));
    }

    pub(super) fn end(&self, end: End) {
        // What has ended once stays so.
        self.orders.send_if_modified(|orders| {
            let first = orders.end.is_none() || end != End::Cut;
            orders.end = if first { Some(end) } else { orders.end };
            first
        });
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.orders.same_channel(&other.orders)
    }

    pub(super) fn hear(&self, bytes: &[u8]) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let room = REMEMBERED.saturating_sub(said.len()).min(bytes.len());
        said.extend_from_slice(&bytes[..room]);
    }
}
