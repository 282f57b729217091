//! Short words for what cases publish and listen to.

use std::time::Duration;

use tavern_backend::{
    EventName, FilterSet, Lane, MessageEnvelope, MessageId, Scope, Topic, TopicFilter,
};

/// A topic.
///
/// # Panics
///
/// If it is none.
#[must_use]
#[track_caller]
pub fn topic(text: &str) -> Topic {
    Topic::new(text).expect("a topic")
}

/// A filter.
///
/// # Panics
///
/// If it is none.
#[must_use]
#[track_caller]
pub fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).expect("a filter")
}

/// Filters.
///
/// # Panics
///
/// If one is none.
#[must_use]
#[track_caller]
pub fn filters(texts: &[&str]) -> FilterSet {
    texts.iter().map(|text| filter(text)).collect()
}

/// A scope.
///
/// # Panics
///
/// If it is none.
#[must_use]
#[track_caller]
pub fn scope(text: &str) -> Scope {
    Scope::new(text).expect("a scope")
}

/// An id that a publisher gives.
///
/// # Panics
///
/// If it is none.
#[must_use]
#[track_caller]
pub fn id(text: &str) -> MessageId {
    MessageId::new(text).expect("an id")
}

/// A lane.
///
/// # Panics
///
/// If it is none.
#[must_use]
#[track_caller]
pub fn lane(topic_text: &str, scope_text: Option<&str>) -> Lane {
    Lane { topic: topic(topic_text), scope: scope_text.map(scope) }
}

/// A message.
///
/// # Panics
///
/// If the topic is none.
#[must_use]
#[track_caller]
pub fn message(topic_text: &str, data: impl Into<String>) -> MessageEnvelope {
    MessageEnvelope::new(topic(topic_text), data.into())
}

/// What is added to a message, in the order of reading.
pub trait Also: Sized {
    /// With this scope.
    #[must_use]
    fn scope(self, text: &str) -> Self;
    /// With this id.
    #[must_use]
    fn id(self, text: &str) -> Self;
    /// With this time to live.
    #[must_use]
    fn ttl(self, ttl: Duration) -> Self;
    /// With this event name.
    #[must_use]
    fn event(self, name: &str) -> Self;
}

impl Also for MessageEnvelope {
    fn scope(mut self, text: &str) -> Self {
        self.scope = Some(scope(text));
        self
    }
    fn id(mut self, text: &str) -> Self {
        self.id = Some(id(text));
        self
    }
    fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
    fn event(mut self, name: &str) -> Self {
        self.event = Some(EventName::new(name).expect("an event name"));
        self
    }
}
