//! The handle an application holds.

mod builder;
mod hooks;
mod publish;

use std::sync::{Arc, Once};

use tavern_backend::{Bus, Invalid, Tasks, TopicFilter};
use tokio::sync::mpsc;

use crate::publisher::Job;
use crate::shared::Node;
use crate::status::{BackendStatus, Readiness, Status};
use crate::subscription::Subscribe;

pub use builder::BrokerBuilder;

/// One node of a namespace: publish here, and every subscriber on every node gets it.
///
/// Cheap to clone; all clones are the same node. Once the last clone is dropped the node ends, and
/// its streams with it; [`Broker::close`] does the same in good order.
///
/// ```
/// use tavern_broker::{Broker, Delivery, Event};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tavern_broker::Error> {
/// let broker = Broker::builder().build()?;
/// let mut orders = broker.subscribe(["orders/*", "news"]).open()?;
///
/// // The first thing a stream says is where it begins: publish behind that.
/// assert!(matches!(orders.recv().await, Some(Delivery::Cursor(_))));
/// broker.publish("orders/7", Event::new("paid").event("changed")).await?;
///
/// let Some(Delivery::Message(message)) = orders.recv().await else { panic!("a message") };
/// assert_eq!(message.data().as_str(), "paid");
/// broker.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

/// What ends with the last handle.
#[derive(Debug)]
struct Shared {
    node: Arc<Node>,
    jobs: mpsc::Sender<Job>,
    /// The publisher: it ends by itself once told to drain.
    publishing: Tasks,
    /// The task that closes the node: it goes on if nobody waits for it any more.
    closing: Tasks,
    close_once: Once,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.node.ring.close();
        self.publishing.cancel();
        self.node.tasks.cancel();
    }
}

impl Broker {
    /// A broker in the making.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Begins a subscription to everything that any of `filters` matches: topics, or patterns with
    /// `*` for one segment and `**` for zero or more.
    pub fn subscribe<I>(&self, filters: I) -> Subscribe
    where
        I: IntoIterator,
        I::Item: TryInto<TopicFilter, Error: Into<Invalid>>,
    {
        let filters: Result<Vec<_>, Invalid> =
            filters.into_iter().map(|filter| filter.try_into().map_err(Into::into)).collect();
        Subscribe::new(Arc::clone(&self.shared.node), filters)
    }

    /// The bus underneath.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.shared.node.bus
    }

    /// What the node says of itself.
    #[must_use]
    pub fn status(&self) -> Status {
        let node = &self.shared.node;
        let info = node.bus.info();
        let health = node.bus.health().get();
        let position = node.ring.position();
        let known = node.known().map(|head| head.position);
        let lag = match (known, position) {
            (Some(head), Some(here)) if head.epoch == here.epoch => {
                head.seq.saturating_sub(here.seq)
            }
            _ => 0,
        };
        let doubted = node.doubted();
        let sizes = node.ring.sizes();
        let mut counters = node.tallies.counters();
        counters.ring_bytes = u64::try_from(sizes.bytes).unwrap_or(u64::MAX);
        counters.ring_frames = u64::try_from(sizes.frames).unwrap_or(u64::MAX);
        Status {
            node: info.node.to_string(),
            namespace: info.namespace.clone(),
            epoch: position.map(|position| position.epoch.to_string()),
            head: known.map(|head| head.seq),
            watermark: position.map(|position| position.seq),
            lag,
            backend: BackendStatus {
                name: info.name,
                location: info.location.clone(),
                durability: info.durability,
                stats: node.bus.stats(),
                since_ms: u64::try_from(health.since.elapsed().as_millis()).unwrap_or(u64::MAX),
                connects: health.connects,
                delivers: health.up && doubted.is_none(),
                reason: health.reason.as_deref().or(doubted).map(str::to_owned),
            },
            topics: node.interest.len(),
            subscribers: sizes.subscribers,
            counters,
        }
    }

    /// Whether the node can deliver across processes.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let node = &self.shared.node;
        let health = node.bus.health().get();
        let mut reasons = Vec::new();
        if !health.up {
            let why = health.reason.as_deref().unwrap_or("no reason is known");
            reasons.push(format!("the backend is away: {why}"));
        }
        if let Some(why) = node.doubted() {
            reasons.push(format!("the backend does not deliver: {why}"));
        }
        if node.ring.position().is_none() {
            reasons.push("the log has not been reached yet".to_owned());
        }
        if let Some(what) = node.unreadable() {
            reasons.push(format!(
                "the log holds an entry that this version cannot read ({what}): upgrade this node"
            ));
        }
        if node.ring.is_closing() {
            reasons.push("the node is closing".to_owned());
        }
        Readiness { ready: reasons.is_empty(), reasons }
    }

    /// Ends the node in good order: takes in nothing new, waits for what is on its way (at most
    /// [`close_drain`](crate::BrokerConfig::close_drain)), ends every stream with a hint when to come
    /// back, joins every task and closes the bus.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the node keeps closing; calling again waits for the rest.
    pub async fn close(&self) {
        let Shared { node, publishing, closing, close_once, .. } = &*self.shared;
        close_once.call_once(|| {
            let (node, publishing) = (Arc::clone(node), publishing.clone());
            closing.spawn(async move { close(&node, &publishing).await });
        });
        closing.close().await;
    }
}

async fn close(node: &Node, publishing: &Tasks) {
    publishing.close().await;
    // What was stored is delivered here too before the streams end, if it comes in time.
    let drain = node.config.close_drain;
    if tokio::time::timeout(drain, node.caught_up()).await.is_err() {
        tracing::warn!(?drain, "streams end before the log's head has arrived here");
    }
    node.ring.close();
    node.tasks.close().await;
    if let Err(error) = node.bus.close().await {
        tracing::warn!(%error, "the backend did not close in good order");
    }
    node.hooks.close();
}
