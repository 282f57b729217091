//! Making a broker.

use std::fmt;
use std::sync::{Arc, Once};

use futures_util::FutureExt;
use tavern_backend::{Bus, Tasks};
use tokio::sync::mpsc;

use super::{Broker, Shared};
use crate::config::BrokerConfig;
use crate::error::Result;
use crate::event::Event;
use crate::node::Reader;
use crate::publisher::Publisher;
use crate::shared::{Node, SnapshotFn, SnapshotRequest};

/// A broker in the making: see [`Broker::builder`].
#[derive(Default)]
#[must_use = "a broker begins with `build`"]
pub struct BrokerBuilder {
    bus: Option<Bus>,
    config: BrokerConfig,
    snapshot: Option<Box<SnapshotFn>>,
}

impl fmt::Debug for BrokerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl BrokerBuilder {
    /// The bus to other processes. Without one, a bus within this process.
    pub fn bus(mut self, bus: Bus) -> Self {
        self.bus = Some(bus);
        self
    }

    /// Limits and times.
    pub fn config(mut self, config: BrokerConfig) -> Self {
        self.config = config;
        self
    }

    /// Asks the application for the state of a topic whenever a client begins or has missed
    /// entries. The log's position is taken before `snapshot` is called, so that whatever is
    /// published meanwhile follows behind the snapshot: it may be in both, it is never in neither.
    ///
    /// `None` means that there is no snapshot of this topic. Filters with wildcards are not asked
    /// for; nor are the topics of a gap that names filters because they are too many (see
    /// [`Gap::topics`](crate::Gap::topics)).
    pub fn snapshot<F, Fut>(mut self, snapshot: F) -> Self
    where
        F: Fn(SnapshotRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Event>> + Send + 'static,
    {
        self.snapshot = Some(Box::new(move |request| snapshot(request).boxed()));
        self
    }

    /// Starts the node. It does not wait for the backend: streams open, and publications are
    /// spooled, until it is there.
    ///
    /// # Errors
    ///
    /// [`Error::Backend`](crate::Error::Backend) if the bus has another reader already.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<Broker> {
        let Self { bus, config, snapshot } = self;
        let config = config.within_bounds();
        let bus = bus.unwrap_or_else(Bus::memory);
        let feed = bus.feed()?;
        let (jobs, queue) = mpsc::channel(config.publish_queue.max(1));
        let node = Node::new(bus, config, snapshot);
        let token = node.tasks.token().clone();
        node.tasks.spawn(Reader::new(Arc::clone(&node), feed).run());
        node.tasks.spawn(Arc::clone(&node.interest).run(node.bus.clone(), token));
        let publishing = Tasks::new();
        let drain = publishing.token().clone();
        publishing.spawn(Publisher::new(Arc::clone(&node), queue).run(drain));
        let (closing, close_once) = (Tasks::new(), Once::new());
        let shared = Shared { node, jobs, publishing, closing, close_once };
        Ok(Broker { shared: Arc::new(shared) })
    }
}
