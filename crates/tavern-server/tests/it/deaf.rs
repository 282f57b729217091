//! A link that is connected and brings nothing is found within two probe intervals, and said
//! everywhere: `/readyz`, `/status`, `/metrics` and a notice on the streams. Nothing is lost by it.

use std::time::Duration;

use serde_json::Value;
use tavern_testkit::SseStream;
use tavern_testkit::engine::{
    NatsOptions, NatsServer, PostgresOptions, PostgresServer, RedisOptions, RedisServer,
};
use tavern_testkit::proxy::{Conditions, Proxy, Side};
use tokio::time::Instant;

use crate::kit::{Node, empty, within};

/// Two probe intervals, and what a busy machine takes.
const LIMIT: Duration = Duration::from_millis(2_500);

/// A hub behind a proxy, with a stream; and one beside it that nothing happens to, if the engine
/// itself is well.
struct Pair {
    hub: Node,
    stream: SseStream,
    other: Node,
}

impl Pair {
    async fn start(url: impl Fn(u16) -> String, proxy: &Proxy, server: u16) -> Self {
        let dir = empty();
        let hub = Node::start(dir.path(), &["--backend", &url(proxy.port())]).await;
        let other = Node::start(dir.path(), &["--backend", &url(server)]).await;
        let mut stream = hub.stream("t", "").await;
        stream.opening().await;
        let first = other.post("t", "first").await;
        assert_eq!(stream.message().await, ("first".to_owned(), first));
        within("both are ready", async {
            while !(ready(&hub).await.is_none() && ready(&other).await.is_none()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        Self { hub, stream, other }
    }

    /// Waits until the hub says that it does not deliver, and checks that it says so everywhere.
    async fn found(&mut self, since: Instant, reason: &str) {
        let why = within("it is found", async {
            loop {
                alive(&self.hub).await;
                if let Some(why) = ready(&self.hub).await {
                    return why;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let took = since.elapsed();
        assert!(took <= LIMIT, "{took:?}: {why}");
        assert!(why.contains(reason), "{why}");
        self.stream.event("tavern-degraded").await;
    }

    /// What `/status` and `/metrics` say while a link is up that brings nothing.
    async fn says_deaf(&self) {
        let status = self.hub.json("/status").await;
        assert!(status["counters"]["deaf"].as_u64().unwrap() >= 1, "{status}");
        let metrics = self.hub.get("/metrics").await.text().await.unwrap();
        let deaf = metrics.lines().find(|line| line.starts_with("tavern_deaf"));
        assert!(deaf.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    }

    /// Waits until all is well again: what was published meanwhile is there, once, without a gap.
    async fn recovers(&mut self, meanwhile: &[&str]) {
        within("it is ready again", async {
            while ready(&self.hub).await.is_some() {
                alive(&self.hub).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        self.other_stores("after").await;
        let (mut got, mut recovered) = (Vec::new(), false);
        while got.last().is_none_or(|last| last != "after") {
            let event = self.stream.next().await;
            match event.name.as_str() {
                "message" => got.push(event.data),
                "tavern-recovered" => recovered = true,
                "tavern-degraded" | "tavern-cursor" => {}
                _ => panic!("{event:?}"),
            }
        }
        let wanted = meanwhile.iter().chain(&["after"]).copied().collect::<Vec<_>>();
        assert_eq!(got, wanted);
        assert!(recovered, "it is said that all is well again");
        alive(&self.hub).await;
    }

    /// The other hub stores it, once it can.
    async fn other_stores(&self, data: &str) {
        within("the other hub stores it", async {
            loop {
                let post = self.other.client.post(format!("{}/topics/t?id={data}", self.other.url));
                let answer = post.body(data.to_owned()).header("content-type", "text/plain");
                let answer: Value = answer.send().await.unwrap().json().await.unwrap();
                if matches!(answer["status"].as_str(), Some("stored" | "duplicate")) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
}

/// Why it is not ready, if it is not.
async fn ready(hub: &Node) -> Option<String> {
    let answer = hub.get("/readyz").await;
    match answer.status().as_u16() {
        200 => None,
        503 => Some(answer.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned()),
        other => panic!("{other}"),
    }
}

async fn alive(hub: &Node) {
    assert_eq!(hub.get("/healthz").await.status(), 200, "it lives, whatever its backend does");
}

async fn redis() -> (RedisServer, Proxy) {
    let server = RedisServer::start(RedisOptions::default().with_appendonly()).await.unwrap();
    let proxy = Proxy::to(server.port()).await.unwrap();
    (server, proxy)
}

async fn nats() -> (NatsServer, Proxy) {
    let server = NatsServer::start(NatsOptions::default()).await.unwrap();
    let proxy = Proxy::to(server.port()).await.unwrap();
    (server, proxy)
}

async fn postgres() -> (PostgresServer, Proxy) {
    let server = PostgresServer::start(PostgresOptions::new().without_fsync()).await.unwrap();
    let proxy = Proxy::to(server.port()).await.unwrap();
    (server, proxy)
}

fn redis_url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

fn nats_url(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

fn postgres_url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// Lets the hub's feed hear nothing any more, its other connections being well.
fn deafen(proxy: &Proxy, words: &str) {
    let feeds = proxy.links().into_iter().filter(|link| link.said(words)).collect::<Vec<_>>();
    let [feed] = feeds.as_slice() else { panic!("one feed, not {feeds:?}") };
    feed.set(Conditions::deaf(Side::Client));
}

/// The feed alone is deaf, and messages go on.
async fn a_busy_feed_goes_deaf(mut pair: Pair, proxy: &Proxy, words: &str) {
    deafen(proxy, words);
    let since = Instant::now();
    // What did not come is read, and so is what follows.
    let texts = (0..30).map(|n| format!("m{n}")).collect::<Vec<_>>();
    let busy = async {
        for text in &texts {
            pair.other.post("t", text).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let found = async {
        while ready(&pair.hub).await.is_none() {
            alive(&pair.hub).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = since.elapsed();
        assert!(took <= LIMIT, "{took:?}");
    };
    tokio::join!(busy, within("it is found", found));
    pair.says_deaf().await;
    let texts = texts.iter().map(String::as_str).collect::<Vec<_>>();
    pair.recovers(&texts).await;
}

/// The feed alone is deaf, and nobody publishes: only a canary can tell.
async fn a_quiet_feed_goes_deaf(mut pair: Pair, proxy: &Proxy, words: &str) {
    deafen(proxy, words);
    pair.found(Instant::now(), "the feed is deaf").await;
    pair.says_deaf().await;
    pair.recovers(&[]).await;
}

#[tokio::test]
async fn a_busy_feed_of_redis_that_goes_deaf_is_found_and_nothing_is_lost() {
    let (server, proxy) = redis().await;
    let pair = Pair::start(redis_url, &proxy, server.port()).await;
    a_busy_feed_goes_deaf(pair, &proxy, "SUBSCRIBE").await;
}

#[tokio::test]
async fn a_busy_feed_of_nats_that_goes_deaf_is_found_and_nothing_is_lost() {
    let (server, proxy) = nats().await;
    let pair = Pair::start(nats_url, &proxy, server.port()).await;
    a_busy_feed_goes_deaf(pair, &proxy, ".feed.>").await;
}

#[tokio::test]
async fn a_quiet_feed_of_redis_that_goes_deaf_is_found_by_a_canary() {
    let (server, proxy) = redis().await;
    let pair = Pair::start(redis_url, &proxy, server.port()).await;
    a_quiet_feed_goes_deaf(pair, &proxy, "SUBSCRIBE").await;
}

#[tokio::test]
async fn a_quiet_feed_of_nats_that_goes_deaf_is_found_by_a_canary() {
    let (server, proxy) = nats().await;
    let pair = Pair::start(nats_url, &proxy, server.port()).await;
    a_quiet_feed_goes_deaf(pair, &proxy, ".feed.>").await;
}

/// All connections of one hub are deaf; the other hub goes on.
async fn a_black_hole(mut pair: Pair, proxy: &Proxy) {
    proxy.set(Conditions::black_hole());
    pair.found(Instant::now(), "").await;
    pair.other_stores("meanwhile").await;
    proxy.heal();
    pair.recovers(&["meanwhile"]).await;
}

#[tokio::test]
async fn a_black_hole_before_redis_is_found_and_nothing_is_lost() {
    let (server, proxy) = redis().await;
    a_black_hole(Pair::start(redis_url, &proxy, server.port()).await, &proxy).await;
}

#[tokio::test]
async fn a_black_hole_before_nats_is_found_and_nothing_is_lost() {
    let (server, proxy) = nats().await;
    a_black_hole(Pair::start(nats_url, &proxy, server.port()).await, &proxy).await;
}

#[tokio::test]
async fn a_black_hole_before_postgres_is_found_and_nothing_is_lost() {
    let (server, proxy) = postgres().await;
    a_black_hole(Pair::start(postgres_url, &proxy, server.port()).await, &proxy).await;
}

#[tokio::test]
async fn a_redis_that_stands_still_is_found() {
    let (server, proxy) = redis().await;
    let mut pair = Pair::start(redis_url, &proxy, server.port()).await;
    server.pause().unwrap();
    pair.found(Instant::now(), "").await;
    server.resume().unwrap();
    pair.recovers(&[]).await;
}

#[tokio::test]
async fn a_nats_that_stands_still_is_found() {
    let (server, proxy) = nats().await;
    let mut pair = Pair::start(nats_url, &proxy, server.port()).await;
    server.pause().unwrap();
    pair.found(Instant::now(), "").await;
    server.resume().unwrap();
    pair.recovers(&[]).await;
}

#[tokio::test]
async fn a_postgres_that_stands_still_is_found() {
    let (server, proxy) = postgres().await;
    let mut pair = Pair::start(postgres_url, &proxy, server.port()).await;
    server.pause().await.unwrap();
    pair.found(Instant::now(), "").await;
    server.resume().unwrap();
    pair.recovers(&[]).await;
}

#[tokio::test]
async fn a_subscription_that_redis_kills_is_found_at_once() {
    let (server, proxy) = redis().await;
    let mut pair = Pair::start(redis_url, &proxy, server.port()).await;
    server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    let notice = pair.stream.event("tavern-degraded");
    tokio::time::timeout(Duration::from_secs(1), notice).await.expect("at once");
    pair.recovers(&[]).await;
}
