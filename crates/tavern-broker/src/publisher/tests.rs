use std::sync::{Arc, Mutex};
use std::time::Duration;

use tavern_backend::{
    Append, Backend, BackendInfo, Bus, Feed, Head, HealthWatch, Lane, MemoryBackend, MessageId,
    Page, Position, Published, ReadQuery, Result, Tasks, TopicFilter,
};

use crate::{Broker, Outcome};

/// The memory backend as an engine that takes its time, with the sizes of the batches it got.
#[derive(Debug)]
struct Slow {
    inner: MemoryBackend,
    batches: Arc<Mutex<Vec<usize>>>,
    takes: Duration,
}

impl Backend for Slow {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }
    fn health(&self) -> HealthWatch {
        self.inner.health()
    }
    async fn publish(&self, append: Append) -> Result<Vec<Published>> {
        self.batches.lock().unwrap().push(append.publications.len());
        tokio::time::sleep(self.takes).await;
        self.inner.publish(append).await
    }
    async fn subscribe(&self, filters: &[TopicFilter]) -> Result<Position> {
        self.inner.subscribe(filters).await
    }
    async fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        self.inner.unsubscribe(filters).await
    }
    fn feed(&self) -> Result<Feed> {
        self.inner.feed()
    }
    async fn read(&self, query: ReadQuery) -> Result<Page> {
        self.inner.read(query).await
    }
    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        self.inner.find(lane, id).await
    }
    async fn head(&self) -> Result<Head> {
        self.inner.head().await
    }
    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[tokio::test(start_paused = true)]
async fn publishers_that_wait_for_their_answers_share_every_batch() {
    const PUBLISHERS: usize = 64;
    const EACH: usize = 10;
    let batches = Arc::new(Mutex::new(Vec::new()));
    let takes = Duration::from_millis(10);
    let slow = Slow { inner: MemoryBackend::new(), batches: Arc::clone(&batches), takes };
    let broker = Broker::builder().bus(Bus::new(slow)).build().unwrap();
    let tasks = Tasks::new();
    for publisher in 0..PUBLISHERS {
        let broker = broker.clone();
        tasks.spawn(async move {
            if publisher % 2 == 0 {
                // While the others' first batch is at the backend.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for _ in 0..EACH {
                broker.publish("news", "x").await.unwrap();
            }
        });
    }
    tasks.close().await;
    broker.close().await;
    let batches = batches.lock().unwrap();
    assert_eq!(batches.iter().sum::<usize>(), PUBLISHERS * EACH);
    // One half comes first and ends first: all else goes together.
    assert_eq!(batches.len(), EACH + 1, "{batches:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_takes_room_in_the_spool() {
    let takes = Duration::from_secs(2);
    let slow = Slow { inner: MemoryBackend::new(), batches: Arc::default(), takes };
    let config = crate::BrokerConfig {
        publish_patience: Duration::from_millis(20),
        spool_entries: 5,
        ..crate::BrokerConfig::default()
    };
    let broker = Broker::builder().bus(Bus::new(slow)).config(config).build().unwrap();
    for n in 0..5 {
        let outcome = broker.publish("news", "x").await;
        assert!(matches!(outcome, Ok(Outcome::Spooled(_))), "{n}: {outcome:?}");
    }
    let refused = broker.publish("news", "one too many").await;
    assert!(matches!(refused, Err(crate::Error::SpoolFull { .. })), "{refused:?}");
    broker.close().await;
}

/// Found by the simulation: what had come in when the time to drain was over, and had found
/// no room before, was never taken out, and the publisher spun.
#[tokio::test(start_paused = true)]
async fn a_broker_closes_with_more_waiting_than_there_is_room_for() {
    let takes = Duration::from_secs(3_600);
    let slow = Slow { inner: MemoryBackend::new(), batches: Arc::default(), takes };
    let config = crate::BrokerConfig {
        publish_queue: 1,
        publish_batch: 1,
        publish_patience: Duration::from_secs(60),
        close_drain: Duration::from_millis(50),
        ..crate::BrokerConfig::default()
    };
    let broker = Broker::builder().bus(Bus::new(slow)).config(config).build().unwrap();
    let mut calls: Vec<_> = (0..4).map(|n| Box::pin(broker.publish("t", n.to_string()))).collect();
    // Each is on its way, in the queue, or before it.
    for call in &mut calls {
        assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
    }
    tokio::time::timeout(Duration::from_secs(10), broker.close()).await.expect("it closes");
    for call in calls {
        assert!(call.await.is_err());
    }
}
