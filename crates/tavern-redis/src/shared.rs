//! What the parts of a backend have in common.

use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use tavern_backend::{Error, HealthCell, NodeId, Result};
use tokio::sync::{Notify, watch};

use crate::config::RedisConfig;
use crate::failure::Failure;
use crate::interest::Interest;
use crate::log::View;
use crate::names::Names;
use crate::server::Server;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: RedisConfig,
    pub(crate) names: Names,
    pub(crate) node: NodeId,
    pub(crate) health: HealthCell,
    pub(crate) interest: Interest,
    /// The link as it is now; nothing while there is none.
    pub(crate) session: watch::Sender<Option<Arc<Session>>>,
    /// What is known of the log. Guards the pointer only.
    view: Mutex<Option<Arc<View>>>,
}

/// The connections to one server, from the link's coming up to its loss.
#[derive(Debug)]
pub(crate) struct Session {
    /// Appends, one at a time.
    pub(crate) writer: MultiplexedConnection,
    /// Everything else that asks.
    pub(crate) reader: MultiplexedConnection,
    pub(crate) server: Server,
    /// Wakes who keeps the link: it is to be built anew.
    pub(crate) broken: Notify,
    /// Why.
    reason: Mutex<Option<String>>,
}

impl Session {
    pub(crate) fn new(
        writer: MultiplexedConnection,
        reader: MultiplexedConnection,
        server: Server,
    ) -> Self {
        let (broken, reason) = (Notify::new(), Mutex::default());
        Self { writer, reader, server, broken, reason }
    }

    /// On a cluster of Redis 7 and newer a message goes to one node and not to all of them.
    const fn sharded(&self) -> bool {
        self.server.cluster && self.server.major >= 7
    }

    pub(crate) const fn publish_command(&self) -> &'static str {
        if self.sharded() { "SPUBLISH" } else { "PUBLISH" }
    }

    pub(crate) const fn subscribe_command(&self) -> &'static str {
        if self.sharded() { "SSUBSCRIBE" } else { "SUBSCRIBE" }
    }

    pub(crate) const fn unsubscribe_command(&self) -> &'static str {
        if self.sharded() { "SUNSUBSCRIBE" } else { "UNSUBSCRIBE" }
    }

    /// Looks at a failure: one of the link ends the session.
    pub(crate) fn notice(&self, failure: &Failure) {
        if failure.link {
            self.end(&failure.reason);
        }
    }

    pub(crate) fn end(&self, reason: &str) {
        self.reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| reason.to_owned());
        self.broken.notify_one();
    }

    pub(crate) fn reason(&self) -> String {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reason.unwrap_or_else(|| "the connection to the server is lost".to_owned())
    }
}

impl Shared {
    pub(crate) fn new(config: RedisConfig, node: NodeId) -> Self {
        Self {
            names: Names::new(&config.namespace),
            config,
            node,
            health: HealthCell::down("not connected yet"),
            interest: Interest::default(),
            session: watch::Sender::new(None),
            view: Mutex::default(),
        }
    }

    /// The link, if there is one.
    pub(crate) fn session(&self) -> Result<Arc<Session>> {
        if let Some(session) = self.session.borrow().as_ref() {
            return Ok(Arc::clone(session));
        }
        let health = self.health.watch().get();
        if health.closed {
            return Err(Error::Closed);
        }
        Err(Error::unavailable(health.reason.as_deref().unwrap_or("not connected")))
    }

    /// Whether a channel, as a push names it, is one that this node did not let go of.
    pub(crate) fn still_wants(&self, push: &[redis::Value]) -> bool {
        let Some(redis::Value::BulkString(channel)) = push.first() else { return false };
        let Ok(channel) = std::str::from_utf8(channel) else { return false };
        if channel == self.names.spine() {
            return true;
        }
        let topic = channel.strip_prefix(&self.names.topic("")).map(tavern_backend::Topic::new);
        topic.and_then(Result::ok).is_some_and(|topic| self.interest.lock().holds(&topic))
    }

    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_view(&self, view: Arc<View>) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }
}
