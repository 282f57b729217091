//! Many who come back at once, each from elsewhere: history is read in pages, not for each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use tavern_backend::{
    Append, Backend, Bus, Cursor, Keep, MessageEnvelope, Payload, Position, Publication, Published,
    Retention,
};
use tavern_broker::{Broker, Delivery};
use tokio::time::Instant;

use crate::faulty::Faulty;
use crate::kit::{LIMIT, engine};

/// A log of so many entries on so many topics, and a node that has just started on it.
struct Stage {
    broker: Broker,
    topics: usize,
    entries: usize,
    head: Position,
    subscribes: Arc<AtomicU64>,
}

impl Stage {
    async fn set(topics: usize, entries: usize) -> Self {
        let keep = Keep::new(100_000, Duration::from_secs(3600));
        let engine = engine(Retention::default().with_default(keep));
        let bus = Bus::new(engine.node());
        let publications = (0..entries).map(|n| Publication {
            key: bus.next_key(),
            envelope: MessageEnvelope::new(topic(n % topics), Payload::from(n.to_string())),
            accepted: Instant::now(),
        });
        let append = Append { known: None, publications: publications.collect() };
        let stored = bus.append(append).await.unwrap();
        let Some(Published::Stored(head)) = stored.last() else { panic!("{stored:?}") };
        let subscribes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&subscribes);
        let node = Faulty::new(&engine).subscribe(move |inner, filters| {
            count.fetch_add(1, Relaxed);
            async move { Backend::subscribe(&*inner, &filters).await }
        });
        // An answer takes a moment, as over a network: what is asked meanwhile shares the next one.
        let node = node.head(|inner, ()| async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Backend::head(&*inner).await
        });
        // No probe and no canary in between: what is counted is the crowd's.
        let mut config = tavern_broker::BrokerConfig::default();
        config.probe_interval = Duration::from_secs(3600);
        config.canary = false;
        // On a busy machine; then a stream would tell that it is kept waiting.
        config.open_patience = Duration::from_secs(600);
        let broker = Broker::builder().bus(Bus::new(node)).config(config).build().unwrap();
        Self { broker, topics, entries, head: *head, subscribes }
    }

    /// All come back at once, each from a place of its own, and are complete.
    async fn crowd(&self, clients: usize) {
        let clients = (0..clients).map(|client| async move {
            let topic_of = client % self.topics;
            let behind = client * 7_919 % self.entries;
            let had = u64::try_from(behind).unwrap();
            let first = self.head.seq - u64::try_from(self.entries).unwrap();
            let cursor = Cursor(Position::new(self.head.epoch, first + had));
            let filter = topic(topic_of);
            let mut stream = self.broker.subscribe([filter]).resume(cursor).open().unwrap();
            let mut wanted = (behind..self.entries).filter(|n| n % self.topics == topic_of);
            loop {
                match stream.recv().await.unwrap() {
                    Delivery::Message(message) => {
                        let next = wanted.next().map(|n| n.to_string());
                        assert_eq!(Some(message.data().as_str()), next.as_deref());
                    }
                    Delivery::Reconnected(end) => {
                        assert!(end.complete, "{end:?}");
                        assert_eq!(wanted.next(), None, "client {client}");
                        return;
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
        tokio::time::timeout(5 * LIMIT, join_all(clients)).await.expect("all are complete");
    }
}

fn topic(n: usize) -> tavern_backend::Topic {
    tavern_backend::Topic::new(format!("topic/{n}")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_crowd_reads_each_page_once() {
    let stage = Stage::set(20, 2_500).await;
    stage.crowd(1_000).await;
    let counters = stage.broker.status().counters;
    assert_eq!(counters.resumes, 1_000);
    assert_eq!(counters.page_reads, 2_500_u64.div_ceil(128), "{counters:?}");
    assert!(counters.page_hits > counters.page_reads, "{counters:?}");
    // Those who ask at the same time share the call, and the interest of all is one call or two.
    assert!(counters.head_reads < 10, "{counters:?}");
    let subscribes = stage.subscribes.load(Relaxed);
    assert!(subscribes <= 2, "{subscribes} calls of subscribe");
    stage.broker.close().await;
}

/// Far behind the head pages are read for a set of topics, and end where they are full: all of that
/// set still read the same ones.
#[tokio::test(start_paused = true)]
async fn a_crowd_far_behind_on_one_topic_reads_its_pages_once() {
    let stage = Stage::set(1, 14_000).await;
    stage.crowd(200).await;
    let counters = stage.broker.status().counters;
    // The far part in pages of 512, a few that begin at coarser places, the near part in pages of 128.
    let most = 14_000_u64.div_ceil(512) + 14_000_u64.div_ceil(8_192) + 8_192 / 128 + 8;
    assert!(counters.page_reads <= most, "{} of {most}: {counters:?}", counters.page_reads);
    stage.broker.close().await;
}
