//! A hub on a socket, and clients of it.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tavern_backend::{Bus, Cable, Keep, MemoryBackend, Retention, Tasks};
use tavern_broker::{Broker, BrokerConfig};
use tavern_http::{HttpConfig, SseConfig, routes};
use tavern_sse::{Block, Item, Parser};

/// Longer than anything takes; a wait that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A hub on a free port of the loopback; topics under `live/` are live.
pub(crate) struct Hub {
    pub(crate) broker: Broker,
    pub(crate) cable: Cable,
    pub(crate) base: String,
    pub(crate) client: Client,
    tasks: Tasks,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self::with(HttpConfig::default()).await
    }

    pub(crate) async fn with_sse(sse: SseConfig) -> Self {
        Self::with(HttpConfig::default().with_sse(sse)).await
    }

    pub(crate) async fn with(config: HttpConfig) -> Self {
        let live = Retention::default().with_rule("live/**".try_into().unwrap(), Keep::live());
        Self::on(MemoryBackend::with_retention(live), config).await
    }

    pub(crate) async fn on(backend: MemoryBackend, config: HttpConfig) -> Self {
        let cable = backend.cable();
        let mut limits = BrokerConfig::default();
        limits.publish_patience = Duration::from_millis(100);
        limits.open_patience = Duration::from_millis(100);
        limits.spool_entries = 3;
        let broker = Broker::builder().bus(Bus::new(backend)).config(limits).build().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = routes(broker.clone(), config);
        let tasks = Tasks::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let client = Client::builder().no_proxy().timeout(3 * PATIENCE).build().unwrap();
        Self { broker, cable, base, client, tasks }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// Publishes data and returns its id.
    pub(crate) async fn publish(&self, topic: &str, data: &str) -> String {
        let reply = self.post(&format!("/topics/{topic}")).body(data.to_owned()).send().await;
        let answer: Value = reply.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "stored", "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn open(&self, path: &str) -> Stream {
        Stream::of(self.get(path).send().await.unwrap())
    }

    pub(crate) async fn resume(&self, path: &str, id: impl AsRef<[u8]>) -> Stream {
        let id = reqwest::header::HeaderValue::from_bytes(id.as_ref()).unwrap();
        Stream::of(self.get(path).header("last-event-id", id).send().await.unwrap())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

/// An event stream, item by item.
pub(crate) struct Stream {
    pub(crate) response: Response,
    parser: Parser,
    items: VecDeque<Item>,
}

impl Stream {
    #[track_caller]
    pub(crate) fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, parser: Parser::new(), items: VecDeque::new() }
    }

    /// The next item; `None` once the stream has ended.
    pub(crate) async fn item(&mut self) -> Option<Item> {
        while self.items.is_empty() {
            let chunk = within("a chunk", self.response.chunk()).await.unwrap()?;
            self.items.extend(self.parser.push(&chunk).map(Result::unwrap));
        }
        self.items.pop_front()
    }

    /// The next block, whatever comes between.
    pub(crate) async fn block(&mut self) -> Block {
        within("a block", async {
            loop {
                if let Item::Block(block) = self.item().await.expect("the stream ended") {
                    return block;
                }
            }
        })
        .await
    }

    /// The next block of an event, those of other events passed over.
    pub(crate) async fn event(&mut self, name: &str) -> Block {
        within(name, async {
            loop {
                let block = self.block().await;
                if block.message().unwrap().event == name {
                    return block;
                }
            }
        })
        .await
    }

    /// The data of the next message.
    pub(crate) async fn data(&mut self) -> String {
        self.event("message").await.data.unwrap()
    }

    /// The position to resume from before anything was published.
    pub(crate) async fn opening(&mut self) -> String {
        let block = self.block().await;
        assert_eq!(block.event.as_deref(), Some("tavern-cursor"));
        block.id.unwrap().to_string()
    }

    /// Reads to the end; how long it said to wait is the last `retry:`.
    pub(crate) async fn end(&mut self) -> Option<Duration> {
        let mut retry = None;
        while let Some(item) = self.item().await {
            if let Item::Retry(after) = item {
                retry = Some(after);
            }
        }
        retry
    }
}

/// Waits for `future`, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("{what} did not come within {PATIENCE:?}"))
}

/// Polls until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
