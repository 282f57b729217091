//! What the tests share: nodes, clients that remember their last id, waits with a limit.

use std::time::Duration;

use tavern_backend::{Bus, Cable, Cursor, MemoryConfig, MemoryEngine, Retention};
use tavern_broker::{
    Broker, BrokerConfig, Delivery, Event, Gap, Message, Outcome, Reconnected, Subscription,
};

/// Longer than anything here takes; with paused time it costs nothing.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn engine(retention: Retention) -> MemoryEngine {
    MemoryEngine::new(MemoryConfig::default().with_retention(retention))
}

/// Limits and times small enough to be met in a test.
pub(crate) fn config() -> BrokerConfig {
    let mut config = BrokerConfig::default();
    config.probe_interval = Duration::from_millis(50);
    config.linger = Duration::from_millis(200);
    config.publish_patience = Duration::from_millis(300);
    config.repair_patience = Duration::from_millis(500);
    config
}

pub(crate) fn broker(engine: &MemoryEngine) -> Broker {
    broker_with(engine, config())
}

pub(crate) fn broker_with(engine: &MemoryEngine, config: BrokerConfig) -> Broker {
    cabled(engine, config).0
}

/// A broker whose link to the engine is in the test's hand.
pub(crate) fn cabled(engine: &MemoryEngine, config: BrokerConfig) -> (Broker, Cable) {
    let node = engine.node();
    let cable = node.cable();
    (Broker::builder().bus(Bus::new(node)).config(config).build().unwrap(), cable)
}

/// The next delivery, or a panic that says where.
#[track_caller]
pub(crate) fn next(stream: &mut Subscription) -> impl Future<Output = Delivery> {
    let here = std::panic::Location::caller();
    async move {
        let next = tokio::time::timeout(LIMIT, stream.recv()).await;
        next.unwrap_or_else(|_| panic!("nothing came: {here}"))
            .unwrap_or_else(|| panic!("the stream ended: {here}"))
    }
}

/// The next delivery, which is `what` and nothing else.
#[track_caller]
fn expect<T>(
    stream: &mut Subscription,
    what: &'static str,
    pick: fn(Delivery) -> Result<T, Delivery>,
) -> impl Future<Output = T> {
    let here = std::panic::Location::caller();
    let next = next(stream);
    async move {
        let picked = pick(next.await);
        picked.unwrap_or_else(|other| panic!("{what} was expected, not {other:?}: {here}"))
    }
}

macro_rules! expected {
    ($($name:ident $variant:ident $kind:ty, $what:literal;)*) => {$(
        #[track_caller]
        pub(crate) fn $name(stream: &mut Subscription) -> impl Future<Output = $kind> {
            expect(stream, $what, |delivery| match delivery {
                Delivery::$variant(inner) => Ok(inner),
                other => Err(other),
            })
        }
    )*};
}

expected! {
    message Message Message, "a message";
    gap Gap Gap, "a gap";
    reconnected Reconnected Reconnected, "the end of a replay";
    opened Cursor Cursor, "the opening cursor";
}

/// A stream of `topics` that has told where it begins.
pub(crate) async fn open(broker: &Broker, topics: &[&str]) -> (Subscription, Cursor) {
    let mut stream = broker.subscribe(topics.iter().copied()).open().unwrap();
    let cursor = opened(&mut stream).await;
    (stream, cursor)
}

/// Publishes and expects it to be stored.
pub(crate) async fn store(broker: &Broker, topic: &str, event: impl Into<Event> + Send) -> Cursor {
    match broker.publish(topic, event).await.unwrap() {
        Outcome::Stored(cursor) => cursor,
        other => panic!("not stored but {other:?}"),
    }
}

/// Nothing is there, and nothing comes while everything that runs goes on for a while.
#[track_caller]
pub(crate) fn silence(stream: &mut Subscription) -> impl Future<Output = ()> {
    let here = std::panic::Location::caller();
    async move {
        let next = tokio::time::timeout(Duration::from_millis(300), stream.recv()).await;
        assert!(next.is_err(), "{next:?} came: {here}");
    }
}
