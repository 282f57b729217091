//! What an application publishes.

use std::time::Duration;

use crate::delivery::Direct;
use tavern_backend::{EventName, Invalid, MessageEnvelope, MessageId, Payload, Scope, Topic};

/// A message to publish, without its topic.
///
/// ```
/// use std::time::Duration;
/// use tavern_broker::Event;
///
/// let event = Event::new(r#"{"order":7}"#).event("created").ttl(Duration::from_secs(60));
/// ```
///
/// A name that is refused (an empty scope, an event name with a line break) is reported by the
/// call that publishes.
#[derive(Debug, Clone)]
pub struct Event {
    data: Payload,
    event: Option<EventName>,
    id: Option<MessageId>,
    scope: Option<Scope>,
    ttl: Option<Duration>,
    invalid: Option<Invalid>,
}

impl Event {
    /// A message with `data`, for everybody who is unscoped.
    #[must_use]
    pub fn new(data: impl Into<Payload>) -> Self {
        Self { data: data.into(), event: None, id: None, scope: None, ttl: None, invalid: None }
    }

    /// The SSE event name; without it the browser sees a `message`.
    #[must_use]
    pub fn event(mut self, name: impl TryInto<EventName, Error: Into<Invalid>>) -> Self {
        self.event = self.check(name.try_into());
        self
    }

    /// The publisher's own id: a second message with it in the same topic and scope is answered
    /// [`Outcome::Duplicate`](crate::Outcome::Duplicate).
    #[must_use]
    pub fn id(mut self, id: impl TryInto<MessageId, Error: Into<Invalid>>) -> Self {
        self.id = self.check(id.try_into());
        self
    }

    /// Who may see it: only subscribers of this scope.
    #[must_use]
    pub fn scope(mut self, scope: impl TryInto<Scope, Error: Into<Invalid>>) -> Self {
        self.scope = self.check(scope.try_into());
        self
    }

    /// How long it is worth delivering, counted from now on the log's clock. Zero is no limit.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = (!ttl.is_zero()).then_some(ttl);
        self
    }

    fn check<T, E: Into<Invalid>>(&mut self, name: Result<T, E>) -> Option<T> {
        match name {
            Ok(name) => Some(name),
            Err(invalid) => {
                self.invalid.get_or_insert(invalid.into());
                None
            }
        }
    }

    /// What is sent to one stream alone.
    pub(crate) fn into_direct(self) -> Result<Direct, Invalid> {
        let Self { data, event, id, scope, ttl, invalid } = self;
        if let Some(invalid) = invalid {
            return Err(invalid);
        }
        if id.is_some() || scope.is_some() || ttl.is_some() {
            let reason = "what is sent to one stream alone has no id, scope or ttl";
            return Err(Invalid::new("event", reason));
        }
        Ok(Direct { data, event })
    }

    /// The envelope for `topic`.
    pub(crate) fn into_envelope(self, topic: Topic) -> Result<MessageEnvelope, Invalid> {
        if let Some(invalid) = self.invalid {
            return Err(invalid);
        }
        let Self { data, event, id, scope, ttl, .. } = self;
        Ok(MessageEnvelope { topic, data, scope, ttl, id, event })
    }
}

impl<T: Into<Payload>> From<T> for Event {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}
