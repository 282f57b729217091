//! The memory backend with single calls that a test answers in its own way.

use std::fmt;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use tavern_backend::{
    Append, Backend, BackendInfo, Cable, Feed, Head, HealthWatch, Lane, MemoryBackend,
    MemoryEngine, MessageId, Page, Position, Published, ReadQuery, Result, TopicFilter,
};

type Call<A, T> = Box<dyn Fn(Arc<MemoryBackend>, A) -> BoxFuture<'static, Result<T>> + Send + Sync>;

/// A node of the memory backend; calls that the test has not taken over go through.
pub(crate) struct Faulty {
    inner: Arc<MemoryBackend>,
    head: Option<Call<(), Head>>,
    read: Option<Call<ReadQuery, Page>>,
    publish: Option<Call<Append, Vec<Published>>>,
    subscribe: Option<Call<Vec<TopicFilter>, Position>>,
    info: BackendInfo,
    rebuilt: Arc<Mutex<Vec<String>>>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

macro_rules! taken_over {
    ($($name:ident $argument:ty, $answer:ty;)*) => {$(
        pub(crate) fn $name<F, Fut>(mut self, call: F) -> Self
        where
            F: Fn(Arc<MemoryBackend>, $argument) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<$answer>> + Send + 'static,
        {
            self.$name = Some(Box::new(move |inner, argument| Box::pin(call(inner, argument))));
            self
        }
    )*};
}

impl Faulty {
    pub(crate) fn new(engine: &MemoryEngine) -> Self {
        let inner = Arc::new(engine.node());
        let info = inner.info().clone();
        let rebuilt = Arc::default();
        Self { inner, head: None, read: None, publish: None, subscribe: None, info, rebuilt }
    }

    /// As an engine that pushes.
    pub(crate) fn pushing(mut self) -> Self {
        self.info.pushes = true;
        self
    }

    /// Why its link was to be built anew.
    pub(crate) fn rebuilt(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.rebuilt)
    }

    pub(crate) fn cable(&self) -> Cable {
        self.inner.cable()
    }

    taken_over! {
        head (), Head;
        read ReadQuery, Page;
        publish Append, Vec<Published>;
        subscribe Vec<TopicFilter>, Position;
    }
}

impl Backend for Faulty {
    fn info(&self) -> &BackendInfo {
        &self.info
    }
    fn health(&self) -> HealthWatch {
        self.inner.health()
    }
    async fn publish(&self, append: Append) -> Result<Vec<Published>> {
        match &self.publish {
            Some(publish) => publish(Arc::clone(&self.inner), append).await,
            None => self.inner.publish(append).await,
        }
    }
    async fn subscribe(&self, filters: &[TopicFilter]) -> Result<Position> {
        match &self.subscribe {
            Some(subscribe) => subscribe(Arc::clone(&self.inner), filters.to_vec()).await,
            None => self.inner.subscribe(filters).await,
        }
    }
    async fn unsubscribe(&self, filters: &[TopicFilter]) -> Result<()> {
        self.inner.unsubscribe(filters).await
    }
    fn feed(&self) -> Result<Feed> {
        self.inner.feed()
    }
    async fn read(&self, query: ReadQuery) -> Result<Page> {
        match &self.read {
            Some(read) => read(Arc::clone(&self.inner), query).await,
            None => self.inner.read(query).await,
        }
    }
    async fn find(&self, lane: &Lane, id: &MessageId) -> Result<Option<u64>> {
        self.inner.find(lane, id).await
    }
    async fn head(&self) -> Result<Head> {
        match &self.head {
            Some(head) => head(Arc::clone(&self.inner), ()).await,
            None => self.inner.head().await,
        }
    }
    fn rebuild(&self, reason: &str) {
        self.rebuilt.lock().unwrap().push(reason.to_owned());
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
