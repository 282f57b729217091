//! What all tests here share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tavern_backend::{
    Append, Backend, Feed, FeedEvent, FilterSet, MemoryBackend, MessageEnvelope, MessageId, Origin,
    Page, Publication, Published, ReadQuery, Received, Scope, Subscription, Topic, TopicFilter,
};
use tokio::time::{Instant, timeout};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn topic(text: &str) -> Topic {
    text.try_into().unwrap()
}

pub(crate) fn filter(text: &str) -> TopicFilter {
    text.try_into().unwrap()
}

pub(crate) fn filters(texts: &[&str]) -> Arc<FilterSet> {
    Arc::new(texts.iter().map(|text| filter(text)).collect())
}

pub(crate) fn message(to: &str, data: &str) -> MessageEnvelope {
    MessageEnvelope::new(topic(to), data)
}

pub(crate) fn scoped(to: &str, scope: &str, data: &str) -> MessageEnvelope {
    MessageEnvelope { scope: Some(Scope::new(scope).unwrap()), ..message(to, data) }
}

pub(crate) fn with_id(envelope: MessageEnvelope, id: &str) -> MessageEnvelope {
    MessageEnvelope { id: Some(MessageId::new(id).unwrap()), ..envelope }
}

/// A publication with a key no other has.
pub(crate) fn publication(node: &MemoryBackend, envelope: MessageEnvelope) -> Publication {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let key = Origin { node: node.info().node, counter };
    Publication { key, envelope, accepted: Instant::now() }
}

pub(crate) fn batch(node: &MemoryBackend, envelopes: &[MessageEnvelope]) -> Append {
    let publications = envelopes.iter().map(|envelope| publication(node, envelope.clone()));
    Append { known: None, publications: publications.collect() }
}

pub(crate) async fn publish(node: &MemoryBackend, envelope: MessageEnvelope) -> Published {
    node.publish(batch(node, &[envelope])).await.unwrap().remove(0)
}

/// Publishes and returns the seq it was stored at.
#[track_caller]
pub(crate) fn stored(published: &Published) -> u64 {
    match published {
        Published::Stored(position) => position.seq,
        other => panic!("not stored: {other:?}"),
    }
}

pub(crate) async fn store(node: &MemoryBackend, envelope: MessageEnvelope) -> u64 {
    stored(&publish(node, envelope).await)
}

pub(crate) async fn read(node: &MemoryBackend, texts: &[&str], after: u64) -> Page {
    let mut query = ReadQuery::range(after, u64::MAX);
    if !texts.is_empty() {
        query = query.with_filters(filters(texts));
    }
    node.read(query).await.unwrap()
}

pub(crate) fn seqs(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.position.seq).collect()
}

/// The floors of a page as `topic:scope=seq`, sorted.
pub(crate) fn floors(page: &Page) -> Vec<String> {
    let text = |scope: &Option<Scope>| scope.as_ref().map_or(String::new(), |s| format!(":{s}"));
    let mut floors: Vec<_> = page
        .floors
        .iter()
        .map(|floor| format!("{}{}={}", floor.lane.topic, text(&floor.lane.scope), floor.seq))
        .collect();
    floors.sort();
    floors
}

/// What is in the feed now, each event as a short text.
pub(crate) async fn arrived(feed: &mut Feed) -> Vec<String> {
    let mut all = Vec::new();
    // The memory backend pushes before `publish` returns: what is not there will not come.
    while let Ok(batch) = tokio::time::timeout(Duration::ZERO, feed.recv()).await {
        match batch {
            Some(batch) => all.extend(batch.iter().map(describe)),
            None => {
                all.push("end".to_owned());
                break;
            }
        }
    }
    all
}

fn describe(event: &FeedEvent) -> String {
    match event {
        FeedEvent::Entry(entry) => {
            format!("{} {}", entry.position.seq, entry.envelope().data.as_str())
        }
        FeedEvent::Skip { from, to, .. } => format!("skip {from}-{to}"),
        FeedEvent::Live(message) => format!("live {}", message.envelope.data.as_str()),
        FeedEvent::LinkLost { .. } => "lost".to_owned(),
        FeedEvent::LinkRestored { head } => format!("restored {}", head.seq),
        other => panic!("unexpected: {other:?}"),
    }
}

/// The next message of a subscription, which must be no gap; `None` if it has ended.
pub(crate) async fn received(subscription: &mut Subscription) -> Option<MessageEnvelope> {
    match timeout(PATIENCE, subscription.recv()).await.unwrap() {
        Some(Received::Message(envelope)) => Some(envelope),
        None => None,
        Some(other) => panic!("unexpected: {other:?}"),
    }
}

/// Nothing waits in the subscription, and its feed has been read to the end.
pub(crate) async fn nothing(subscription: &mut Subscription) {
    // Each turn lets the reader of the feed run; there is only one thread.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let next = timeout(Duration::ZERO, subscription.recv()).await;
    assert!(next.is_err(), "unexpected: {next:?}");
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(condition: impl Fn() -> bool + Send + Sync) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, poll).await.unwrap();
}
