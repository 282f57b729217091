//! Asking for a subscription.

use std::sync::Arc;

use tavern_backend::{Cursor, Invalid, LastEventId, Scope, TopicFilter};
use tokio::sync::mpsc;

use super::catch_up::Trip;
use super::direct::Inbox;
use super::opening::{self, Start};
use super::{Away, State, Subscription, Wish};
use crate::error::{Error, Result};
use crate::pages::Wanted;
use crate::shared::Node;

/// Batches between the future that reads history and the stream.
const QUEUE: usize = 2;

/// A subscription in the making: see [`Broker::subscribe`](crate::Broker::subscribe).
#[derive(Debug)]
#[must_use = "a subscription begins with `open`"]
pub struct Subscribe {
    node: Arc<Node>,
    filters: Result<Vec<TopicFilter>, Invalid>,
    scope: Option<Scope>,
    invalid_scope: Option<Invalid>,
    start: Start,
}

impl Subscribe {
    pub(crate) fn new(node: Arc<Node>, filters: Result<Vec<TopicFilter>, Invalid>) -> Self {
        Self { node, filters, scope: None, invalid_scope: None, start: Start::Now }
    }

    /// Sees what is published to this scope, and only that.
    pub fn scope(mut self, scope: impl TryInto<Scope, Error: Into<Invalid>>) -> Self {
        match scope.try_into() {
            Ok(scope) => self.scope = Some(scope),
            Err(invalid) => self.invalid_scope = Some(invalid.into()),
        }
        self
    }

    /// Goes on behind what the client had last: its `Last-Event-ID`. `None`, or an empty one,
    /// begins anew.
    pub fn resume(mut self, last: impl IntoLastEventId) -> Self {
        if let Some(last) = last.into_last_event_id() {
            self.start = Start::After(last);
        }
        self
    }

    /// Begins with the oldest that history still has, instead of now. A resume has precedence.
    pub fn from_oldest(mut self) -> Self {
        if matches!(self.start, Start::Now) {
            self.start = Start::Oldest;
        }
        self
    }

    /// Opens the subscription. Nothing waits here: the backend is asked while the stream is polled.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a filter or a scope that is refused, or if there is no filter;
    /// [`Error::Closed`] if the broker is closing.
    pub fn open(self) -> Result<Subscription> {
        let Self { node, filters, scope, invalid_scope, start } = self;
        let mut filters = filters?;
        if let Some(invalid) = invalid_scope {
            return Err(invalid.into());
        }
        filters.sort_unstable();
        filters.dedup();
        if filters.is_empty() {
            return Err(Invalid::new("subscription", "at least one topic is needed").into());
        }
        if node.ring.is_closing() {
            return Err(Error::Closed);
        }
        let wanted = Wanted {
            key: filters.iter().map(TopicFilter::as_str).collect::<Vec<_>>().join("\n").into(),
            filters: Arc::new(filters.iter().cloned().collect()),
        };
        // In this order: whatever the backend pushes once it has confirmed finds its follower.
        let following = node.ring.follow(&filters, scope.as_ref());
        let interested = node.interest.acquire(&filters);
        let inbox = Inbox::new(&following.signal);
        let wish = Arc::new(Wish { node, filters, scope, wanted, inbox });
        let (sender, deliveries) = mpsc::channel(QUEUE);
        let trip = Trip::new(&wish, &following, &interested, sender);
        let work = Box::pin(opening::open(trip, start, following.down_since));
        Ok(Subscription {
            at: following.since,
            live_from: following.since,
            wish,
            following,
            interested,
            state: State::Away(Away { work, deliveries, done: None }),
            position: None,
            replay: None,
            missed: Vec::new(),
            ready: Vec::new().into_iter(),
            got: Vec::new(),
        })
    }
}

/// What a client may bring as its last id: raw bytes of a header, text, a [`Cursor`], or nothing.
pub trait IntoLastEventId {
    /// The id, or `None` to begin anew.
    fn into_last_event_id(self) -> Option<LastEventId>;
}

impl IntoLastEventId for LastEventId {
    fn into_last_event_id(self) -> Option<LastEventId> {
        Some(self)
    }
}

impl IntoLastEventId for Cursor {
    fn into_last_event_id(self) -> Option<LastEventId> {
        Some(LastEventId::Cursor(self))
    }
}

impl IntoLastEventId for &str {
    fn into_last_event_id(self) -> Option<LastEventId> {
        LastEventId::parse(self)
    }
}

impl IntoLastEventId for &String {
    fn into_last_event_id(self) -> Option<LastEventId> {
        LastEventId::parse(self)
    }
}

impl IntoLastEventId for &[u8] {
    fn into_last_event_id(self) -> Option<LastEventId> {
        LastEventId::parse(self)
    }
}

impl<T: IntoLastEventId> IntoLastEventId for Option<T> {
    fn into_last_event_id(self) -> Option<LastEventId> {
        self.and_then(T::into_last_event_id)
    }
}
