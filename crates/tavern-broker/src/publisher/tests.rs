use std::sync::{Arc, Mutex};
use std::time::Duration;

use tavern_backend::{
    Append, Backend, BackendInfo, Bus, Feed, Head, HealthWatch, Lane, MemoryBackend, MessageId,
    Page, Position, Published, ReadQuery, Result, Tasks, TopicFilter,
};

use crate::Broker;

/// The memory backend as an engine that takes its time, with the sizes of the batches it got.
#[derive(Debug)]
struct Slow {
    inner: MemoryBackend,
    batches: Arc<Mutex<Vec<usize>>>,
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
        tokio::time::sleep(Duration::from_millis(10)).await;
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
    let slow = Slow { inner: MemoryBackend::new(), batches: Arc::clone(&batches) };
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
