//! A hub on a socket, and clients of it.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tavern_backend::{Bus, Cable, Keep, MemoryBackend, Retention, Tasks};
use tavern_broker::{Broker, BrokerConfig};
use tavern_http::{HttpConfig, SseConfig, routes};
use tavern_testkit::SseStream;

pub(crate) use tavern_testkit::wait::{PATIENCE, eventually, within};

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

    pub(crate) async fn open(&self, path: &str) -> SseStream {
        SseStream::of(self.get(path).send().await.unwrap())
    }

    pub(crate) async fn resume(&self, path: &str, id: impl AsRef<[u8]>) -> SseStream {
        let id = reqwest::header::HeaderValue::from_bytes(id.as_ref()).unwrap();
        SseStream::of(self.get(path).header("last-event-id", id).send().await.unwrap())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}
