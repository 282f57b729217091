//! What the application sends to one stream alone.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use tavern_backend::{Scope, TopicFilter};

use super::{Subscription, Wish};
use crate::delivery::{Delivery, Direct};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::signal::Signal;

/// One open stream, as [`Broker::on_gap`](crate::Broker::on_gap) and
/// [`Broker::on_reconnected`](crate::Broker::on_reconnected) hand it to the application: to see
/// what it follows, and to send to it alone.
///
/// It keeps nothing alive: it may be kept for later, and once the stream is gone it says so.
#[derive(Clone)]
pub struct StreamHandle {
    wish: Weak<Wish>,
    filters: Arc<[TopicFilter]>,
    scope: Option<Scope>,
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamHandle")
            .field("filters", &self.filters)
            .field("scope", &self.scope)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

impl StreamHandle {
    fn new(wish: &Arc<Wish>) -> Self {
        Self {
            wish: Arc::downgrade(wish),
            filters: wish.filters.as_slice().into(),
            scope: wish.scope.clone(),
        }
    }

    /// The topics and patterns that the stream follows.
    #[must_use]
    pub fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    /// The scope that it follows as.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// Whether the stream is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.wish.upgrade().is_some_and(|wish| !wish.inbox.queue().closed)
    }

    /// Sends an event to this stream alone, as [`Delivery::Direct`]: behind what the stream was
    /// told just now if a callback sends it, else as soon as it can be. It is not in the log and
    /// has no position there: a client that is cut off before it arrives does not get it again.
    ///
    /// # Errors
    ///
    /// [`Error::StreamEnded`] once the stream is gone, and [`Error::StreamBusy`] while
    /// [`direct_events`](crate::BrokerConfig::direct_events) wait for the client already: nothing
    /// was sent. [`Error::Invalid`] for an event with an id, a scope or a TTL, which mean nothing
    /// here; [`Error::TooLarge`] for one over the limit of a message.
    pub fn send(&self, event: impl Into<Event>) -> Result<()> {
        let direct = event.into().into_direct()?;
        let wish = self.wish.upgrade().ok_or(Error::StreamEnded)?;
        let (size, max) = (direct.data.len(), wish.node.bus.info().max_payload);
        if size > max {
            return Err(Error::TooLarge { size, max });
        }
        wish.inbox.put(direct, wish.node.config.direct_events)
    }
}

/// Where what is sent to one stream waits until it is polled.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Guards what waits.
    queue: Mutex<Queue>,
    /// Whether anything does: a look without the lock.
    filled: AtomicBool,
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Direct>,
    closed: bool,
}

impl Inbox {
    pub(super) fn new(signal: &Arc<Signal>) -> Self {
        let signal = Arc::clone(signal);
        Self { queue: Mutex::default(), filled: AtomicBool::new(false), signal }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, direct: Direct, most: usize) -> Result<()> {
        let mut queue = self.queue();
        if queue.closed {
            return Err(Error::StreamEnded);
        }
        if queue.events.len() >= most {
            return Err(Error::StreamBusy);
        }
        queue.events.push_back(direct);
        self.filled.store(true, Ordering::Release);
        drop(queue);
        // Written first, woken then: the stream registers before it looks.
        self.signal.take().into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Whether something waits. Who has registered its waker before is woken for what comes after.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Appends what waits to `out`.
    pub(super) fn take(&self, out: &mut Vec<Delivery>) {
        if self.is_filled() {
            let mut queue = self.queue();
            self.filled.store(false, Ordering::Release);
            out.extend(queue.events.drain(..).map(Delivery::Direct));
        }
    }

    /// Appends what waits to `out`, and takes nothing more.
    pub(super) fn close(&self, out: &mut Vec<Delivery>) {
        let mut queue = self.queue();
        queue.closed = true;
        out.extend(queue.events.drain(..).map(Delivery::Direct));
    }
}

impl Subscription {
    /// Tells the application of what this stream is told from `out[from]` on; what it answers with
    /// stands right behind.
    pub(super) fn tell(&self, out: &mut Vec<Delivery>, from: usize) {
        let concerns = |d: &Delivery| matches!(d, Delivery::Gap(_) | Delivery::Reconnected(_));
        if !out[from..].iter().any(concerns) {
            return;
        }
        let hooks = &self.wish.node.hooks;
        let stream = StreamHandle::new(&self.wish);
        for delivery in out.split_off(from) {
            match &delivery {
                Delivery::Gap(gap) => hooks.gap(gap, &stream),
                Delivery::Reconnected(reconnected) => hooks.reconnected(reconnected, &stream),
                _ => {}
            }
            out.push(delivery);
            self.wish.inbox.take(out);
        }
    }
}
