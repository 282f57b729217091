//! A server that hurts: what it kills, refuses and forgets, while two nodes publish and listen.

use std::sync::atomic::{AtomicU64, Ordering};

use tavern_backend::{Error, Tasks};
use tavern_testkit::engine::RedisOptions;
use tavern_testkit::say::message;
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, Node, a_stream_survives, publish, publish_all};

use crate::stand::{Stand, keeping, store, until};

/// Messages that each of two nodes publishes while the server is hurt.
const PUBLISHED: u64 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_pubsub_connections_lose_nothing() {
    let stand = Stand::start().await;
    let killed = AtomicU64::new(0);
    a_stream_survives(stand.stage(), PUBLISHED, 5, async |_| {
        let two = until("two feeds", || async {
            stand
                .server
                .cli(&["CLIENT", "LIST", "TYPE", "pubsub"])
                .await
                .unwrap()
                .text()
                .lines()
                .count()
                == 2
        });
        two.await;
        let gone = stand.say(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        killed.fetch_add(gone.parse().unwrap(), Ordering::Relaxed);
    })
    .await;
    assert!(killed.into_inner() >= 10, "both feeds, each time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_ordinary_connections_lose_nothing() {
    let stand = Stand::start().await;
    let killed = AtomicU64::new(0);
    a_stream_survives(stand.stage(), PUBLISHED, 5, async |_| {
        let gone = stand.say(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        killed.fetch_add(gone.parse().unwrap(), Ordering::Relaxed);
    })
    .await;
    assert!(killed.into_inner() >= 5, "some at least");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_flush_is_not_noticed() {
    let stand = Stand::start().await;
    a_stream_survives(stand.stage(), PUBLISHED, 20, async |_| {
        stand.say(&["SCRIPT", "FLUSH"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_sleeps_is_waited_for() {
    let stand =
        Stand::start_with(RedisOptions::default().with_config("enable-debug-command yes")).await;
    let stand = stand.with(|config| config.timeout = std::time::Duration::from_millis(300));
    a_stream_survives(stand.stage(), PUBLISHED, 2, async |_| {
        let mut conn = stand.server.connect().await.unwrap();
        conn.call(&["DEBUG", "SLEEP", "0.8"]).await.unwrap();
    })
    .await;
}

/// A script of somebody else that runs for long: the server says `BUSY` to everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_waited_for() {
    let stand = Stand::start_with(RedisOptions::default().with_config("lua-time-limit 20")).await;
    let stand = stand.with(|config| config.timeout = std::time::Duration::from_millis(300));
    a_stream_survives(stand.stage(), PUBLISHED, 2, async |_| {
        let mut conn = stand.server.connect().await.unwrap();
        conn.send(&["EVAL", "while true do end", "0"]).await.unwrap();
        until("the server is busy", || async {
            let said = stand.server.cli(&["GET", "x"]).await;
            said.is_err_and(|error| error.to_string().contains("BUSY"))
        })
        .await;
        // Longer than the link's patience: being busy is an answer, too.
        tokio::time::sleep(std::time::Duration::from_millis(800)).await;
        stand.say(&["SCRIPT", "KILL"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_said_to_be_busy() {
    let stand = Stand::start_with(RedisOptions::default().with_config("lua-time-limit 20")).await;
    let bus = stand.bus().await;
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    let mut conn = stand.server.connect().await.unwrap();
    conn.send(&["EVAL", "while true do end", "0"]).await.unwrap();
    until("the server is busy", || async {
        let said = stand.server.cli(&["GET", "x"]).await;
        said.is_err_and(|error| error.to_string().contains("BUSY"))
    })
    .await;
    let error = within("a publish", bus.publish(message("t", "2"))).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("busy with a long script"), "{error}");
    assert!(bus.healthy(), "a server that is busy is there");
    stand.say(&["SCRIPT", "KILL"]).await;
    until("the server is idle", || async { stand.server.cli(&["GET", "x"]).await.is_ok() }).await;
    assert_eq!(store(&bus, message("t", "2")).await, 2);
    bus.close().await.unwrap();
}

/// Payloads too large for the output buffer of a feed: the server cuts it, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_cut_by_the_output_buffer_limit_is_complete_in_the_end() {
    const MESSAGES: usize = 200;
    let options =
        RedisOptions::default().with_config("client-output-buffer-limit pubsub 200kb 100kb 1");
    let stand = Stand::start_with(options).await;
    let stage = stand.stage();
    let nodes = [stage.node().await, stage.node().await];
    let brokers = [nodes[0].broker(), nodes[1].broker()];
    let mut client = Client::fresh(&brokers[1], &["large"]);
    client.opened().await;
    let large = |n: usize| format!("{n}:{}", "x".repeat(40_000));
    let envelopes = (0..MESSAGES).map(|n| message("large", large(n))).collect();
    publish_all(&brokers[0], envelopes).await;
    let texts = client.texts(MESSAGES).await;
    assert!(texts == (0..MESSAGES).map(large).collect::<Vec<_>>(), "all, in order");
    let connects = nodes[1].bus().health().get().connects;
    assert!(connects > 1, "the server has cut the feed");
    assert!(connects < 40, "and it was not a race of cuts and connects: {connects}");
    // And what comes now comes as ever.
    publish(&brokers[0], message("large", "small")).await;
    assert_eq!(client.texts(1).await, ["small"]);
    stage.close().await;
}

/// `maxmemory` with `noeviction`: a clear refusal, nothing half done, and on it goes with memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_with_advice_and_nothing_is_half_appended() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let publisher = stage.node_keeping(keeping(1000)).await;
    let node = stage.node_keeping(keeping(1000)).await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t", "live/a"]);
    client.opened().await;
    store(publisher.bus(), message("t", "1")).await;
    assert_eq!(client.texts(1).await, ["1"]);
    stand.say(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    for n in 0..20 {
        let error = publisher.bus().publish(message("t", format!("{n}"))).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "nothing was done: {error:?}");
        assert!(error.to_string().contains("`maxmemory`"), "what to do: {error}");
    }
    // Together with retained ones, in one call or not: live topics need no memory.
    let (live, retained) = tokio::join!(
        publisher.bus().publish(message("live/a", "live")),
        publisher.bus().publish(message("t", "no")),
    );
    assert_eq!(live.unwrap(), tavern_backend::Published::Live);
    retained.unwrap_err();
    assert_eq!(client.texts(1).await, ["live"]);
    assert!(publisher.bus().healthy(), "a server that is full is there");
    // Spooled, and stored when there is memory again.
    let spooled = Tasks::new();
    let second = publisher.broker();
    let task = second.clone();
    spooled.spawn(async move {
        publish(&task, message("t", "2")).await;
    });
    eventually("the message waits in the spool", || second.status().counters.spooled == 1).await;
    stand.say(&["CONFIG", "SET", "maxmemory", "0"]).await;
    within("the spool drains", spooled.close()).await;
    assert_eq!(client.texts(1).await, ["2"]);
    assert_eq!(texts_with_seqs(&node).await, [(1, "1".to_owned()), (2, "2".to_owned())]);
    stage.close().await;
}

/// All entries that are not Tavern's own, their seqs counted without those.
async fn texts_with_seqs(node: &Node) -> Vec<(u64, String)> {
    let pages = node.read_all().await;
    let head = pages.last().map_or(0, |page| page.head);
    let entries: Vec<_> = pages.iter().flat_map(|page| &page.entries).collect();
    assert_eq!(u64::try_from(entries.len()).unwrap(), head, "dense: each seq is an entry");
    let theirs = entries.iter().filter(|entry| !entry.envelope().topic.is_reserved());
    (1..).zip(theirs.map(|entry| entry.envelope().data.as_str().to_owned())).collect()
}

/// Everything is deleted under running nodes: a new log begins, and clients are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_server_begins_a_new_log_and_clients_are_told() {
    for command in ["FLUSHALL", "FLUSHDB"] {
        let stand = Stand::start().await;
        let stage = stand.stage();
        let nodes = [stage.node().await, stage.node().await];
        let brokers = [nodes[0].broker(), nodes[1].broker()];
        let mut client = Client::fresh(&brokers[1], &["t"]);
        client.opened().await;
        publish(&brokers[0], message("t", "1")).await;
        publish(&brokers[0], message("t", "2")).await;
        assert_eq!(client.texts(2).await, ["1", "2"]);
        let before = client.cursor().unwrap();
        stand.say(&[command]).await;
        publish(&brokers[0], message("t", "3")).await;
        assert_eq!(client.gap().await.reason.as_str(), "epoch");
        assert_eq!(client.texts(1).await, ["3"]);
        let mut resumed = Client::resume(&brokers[0], &["t"], before);
        let (replay, _) = resumed.replay().await;
        assert_eq!(replay.reasons().iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["epoch"]);
        stage.close().await;
    }
}
