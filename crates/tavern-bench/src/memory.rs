//! What topics and subscriptions take in memory.

use tavern_backend::{
    Append, Bus, MemoryBackend, MessageEnvelope, Payload, Publication, Topic, TopicFilter,
};
use tavern_broker::{Broker, Delivery, Subscription};
use tokio::time::Instant;

use crate::figure::{Figure, number};
use crate::heap::Count;
use crate::plan::Plan;
use crate::report::Section;
use crate::run::Result;
use crate::tap::{Spout, Tap};

const PAYLOAD: usize = 256;
/// Messages in one batch.
const BATCH: usize = 500;

/// Measures topics and subscriptions.
pub(crate) async fn measure(plan: &Plan) -> Result<Section> {
    let (topics, subscriptions) = (plan.topics, plan.subscriptions);
    let mut section = Section::new(
        format!("Memory: one retained message of {PAYLOAD} B each, subscriptions that wait"),
        &["each", "number", "by its budget"],
    );
    let mut row = |name: &str, count: usize, bytes: usize, budget: Figure| {
        let each = Figure::Bytes(number(bytes) / number(count));
        section.row(name, [each, Figure::Count(number(count)), budget]);
    };

    let bytes = in_the_log(topics).await?;
    row("a topic in the memory log", topics, bytes, Figure::Nothing);

    let (tap, spout) = Tap::new();
    let broker = Broker::builder().bus(Bus::new(tap)).build()?;
    let (bytes, charged) = in_the_ring(&broker, &spout, topics).await?;
    let charged = number(usize::try_from(charged)?) / number(topics);
    row("a topic in a node's ring", topics, bytes, Figure::Bytes(charged));

    let count = Count::start();
    let open = subscribe(&broker, (0..subscriptions).map(|_| "news".to_owned())).await?;
    row("a subscription, all to one topic", subscriptions, count.bytes(), Figure::Nothing);
    drop((open, count));

    let count = Count::start();
    let names = (0..subscriptions).map(|n| format!("user/{n}/inbox"));
    let open = subscribe(&broker, names).await?;
    row("a subscription, each to its own", subscriptions, count.bytes(), Figure::Nothing);
    drop((open, count));

    broker.close().await;
    Ok(section)
}

/// Bytes of a memory backend's log with so many topics.
async fn in_the_log(topics: usize) -> Result<usize> {
    let payload = "x".repeat(PAYLOAD);
    let bus = Bus::new(MemoryBackend::new());
    let count = Count::start();
    for first in (0..topics).step_by(BATCH) {
        let publications: Result<Vec<_>> = (first..topics.min(first + BATCH))
            .map(|n| {
                let envelope = MessageEnvelope::new(topic(n)?, payload.as_str());
                Ok(Publication { key: bus.next_key(), envelope, accepted: Instant::now() })
            })
            .collect();
        bus.append(Append { known: None, publications: publications? }).await?;
    }
    let bytes = count.bytes();
    bus.close().await?;
    if bytes == 0 {
        return Err("the counting allocator is not this program's".into());
    }
    Ok(bytes)
}

/// Bytes of a node's ring with so many topics, and what the ring charges to its budget for them.
async fn in_the_ring(broker: &Broker, spout: &Spout, topics: usize) -> Result<(usize, u64)> {
    let payload = Payload::from("x".repeat(PAYLOAD));
    let mut all = broker.subscribe([TopicFilter::new("**")?]).open()?;
    opened(&mut all).await?;
    let before = broker.status().counters.ring_bytes;
    let count = Count::start();
    let mut deliveries = Vec::new();
    for first in (0..topics).step_by(BATCH) {
        let last = topics.min(first + BATCH);
        let batch: Result<Vec<_>> =
            (first..last).map(|n| Ok(spout.make(&topic(n)?, &payload))).collect();
        spout.send(batch?).await?;
        let mut waited_for = last - first;
        while waited_for > 0 {
            waited_for -= all.recv_many(&mut deliveries, BATCH).await;
            deliveries.clear();
        }
    }
    deliveries.shrink_to_fit();
    drop(all);
    Ok((count.bytes(), broker.status().counters.ring_bytes - before))
}

/// Subscriptions that are open and wait.
async fn subscribe(
    broker: &Broker,
    topics: impl Iterator<Item = String> + Send,
) -> Result<Vec<Subscription>> {
    let mut open = Vec::new();
    for topic in topics {
        let mut subscription = broker.subscribe([topic]).open()?;
        opened(&mut subscription).await?;
        open.push(subscription);
    }
    Ok(open)
}

async fn opened(subscription: &mut Subscription) -> Result<()> {
    match subscription.recv().await {
        Some(Delivery::Cursor(_)) => {}
        other => return Err(format!("a cursor was expected, not {other:?}").into()),
    }
    // Once more, until it waits for what comes: what it needed to open is given back by then.
    let idle = std::future::poll_fn(|cx| {
        std::task::Poll::Ready(subscription.poll_batch(cx, &mut Vec::new(), 1).is_pending())
    });
    if idle.await { Ok(()) } else { Err("nothing was to be delivered".into()) }
}

fn topic(n: usize) -> Result<Topic> {
    Ok(Topic::new(format!("shop/orders/{n}"))?)
}
