//! A server that is gone for a while: killed, frozen, cut off, loading, demoted.

use std::time::Duration;

use tavern_backend::{Append, Bus, Error, Published};
use tavern_testkit::engine::{RedisOptions, RedisServer};
use tavern_testkit::say::message;
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, publish};
use tokio::time::Instant;

use crate::forwarder::Forwarder;
use crate::stand::{Stand, store, until};

/// Waits until the link is down, and says why it is.
#[track_caller]
fn down(bus: &Bus) -> impl Future<Output = String> + use<> {
    let mut health = bus.health();
    within("the link goes down", async move {
        loop {
            let now = health.get();
            if !now.up {
                return now.reason.unwrap().to_string();
            }
            health.changed().await.unwrap();
        }
    })
}

#[track_caller]
fn up(bus: &Bus) -> impl Future<Output = bool> + use<> {
    let mut health = bus.health();
    within("the link comes back", async move { health.wait_up().await })
}

/// kill -9 in the middle, `appendfsync always`: what was acknowledged is there. What was not has an
/// unknown outcome, or was not sent; sent again under its key it is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_what_it_acknowledged_and_the_rest_settles_by_key() {
    let stand = Stand::start_with(RedisOptions::default().with_appendonly()).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let bus = node.bus().clone();
    let publications: Vec<_> = (0..4000)
        .map(|n| node.publication(message(&format!("t/{}", n % 7), n.to_string())))
        .collect();
    let mut seqs = vec![None; publications.len()];
    let append = |n: usize| {
        let (bus, publication) = (bus.clone(), publications[n].clone());
        async move { (n, bus.append(Append { known: None, publications: vec![publication] }).await) }
    };
    let (mut open, mut killed) = (Vec::new(), false);
    let mut calls: tokio::task::JoinSet<_> = (0..publications.len()).map(append).collect();
    while let Some(done) = calls.join_next().await {
        match done.unwrap() {
            (n, Ok(published)) => match published[0] {
                Published::Stored(position) => seqs[n] = Some(position.seq),
                ref other => panic!("stored, not {other:?}"),
            },
            (n, Err(error)) => {
                assert!(error.is_transient(), "{error:?}");
                open.push(n);
            }
        }
        if !killed {
            killed = true;
            stand.server.kill().await.unwrap();
        }
    }
    assert!(!open.is_empty(), "it died in the middle");
    stand.server.start_again().await.unwrap();
    assert!(up(&bus).await);
    let again: tokio::task::JoinSet<_> = open.into_iter().map(append).collect();
    for (n, published) in within("all is settled", again.join_all()).await {
        match published.unwrap()[0] {
            Published::Stored(position) | Published::Duplicate(position) => {
                seqs[n] = Some(position.seq);
            }
            ref other => panic!("stored in the end, not {other:?}"),
        }
    }
    let pages = node.read_all().await;
    let entries = pages.iter().flat_map(|page| &page.entries);
    let mut found = vec![None; publications.len()];
    for entry in entries {
        let n: usize = entry.envelope().data.as_str().parse().unwrap();
        assert_eq!(found[n].replace(entry.position.seq), None, "{n} is there twice");
    }
    assert_eq!(found, seqs, "each is where it was said to be");
    stage.close().await;
}

/// Stored, and the answer lost on its way, and the server killed and started again: sent again under
/// its key it is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_without_an_answer_is_stored_once_over_a_restart() {
    let stand = Stand::start_with(RedisOptions::default().with_appendonly()).await;
    let wire = Forwarder::to(stand.server.port()).await;
    let port = wire.port();
    let remote = stand.with(move |config| {
        config.addresses[0].1 = port;
        config.timeout = Duration::from_millis(500);
    });
    let (stage, far) = (stand.stage(), remote.stage());
    let (near, node) = (stage.node().await, far.node().await);
    let publications: Vec<_> =
        (0..50).map(|n| node.publication(message("t", n.to_string()))).collect();
    let append = || {
        let publications = publications.clone();
        within("an append", node.bus().append(Append { known: None, publications }))
    };
    // The server knows the script.
    store(node.bus(), message("t", "first")).await;
    wire.mute();
    let error = append().await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    let all = (0..50).map(|n| n.to_string());
    let all: Vec<_> = std::iter::once("first".to_owned()).chain(all).collect();
    assert_eq!(near.texts().await, all, "it is stored");
    stand.server.kill().await.unwrap();
    wire.go_on();
    stand.server.start_again().await.unwrap();
    assert!(up(node.bus()).await && up(near.bus()).await);
    let published = append().await.unwrap();
    assert!(published.iter().all(|p| matches!(p, Published::Duplicate(_))), "{published:?}");
    assert_eq!(near.texts().await, all);
    far.close().await;
    stage.close().await;
}

/// SIGSTOP: noticed by asking, the outcome of what was under way is unknown; after SIGCONT the log
/// has it once, however often it was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_noticed_and_stores_once() {
    let stand = Stand::start().await.with(|config| config.timeout = Duration::from_secs(1));
    let stage = stand.stage();
    let node = stage.node().await;
    let (bus, broker) = (node.bus(), node.broker());
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    assert_eq!(store(bus, message("t", "before")).await, 1);
    assert_eq!(client.texts(1).await, ["before"]);
    let waiting = node.publication(message("t", "frozen"));
    let append = || {
        let publications = vec![waiting.clone()];
        within("an append", bus.append(Append { known: None, publications }))
    };
    stand.server.pause().unwrap();
    let frozen = Instant::now();
    let error = append().await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    assert!(error.to_string().contains("does not answer in time"), "{error}");
    assert!(!down(bus).await.is_empty());
    assert!(frozen.elapsed() < Duration::from_secs(4), "{:?}", frozen.elapsed());
    let error = append().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "nothing was sent: {error:?}");
    while frozen.elapsed() < Duration::from_secs(5) {
        append().await.unwrap_err();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stand.server.resume().unwrap();
    assert!(up(bus).await);
    let published = append().await.unwrap();
    assert!(matches!(published[0], Published::Stored(_) | Published::Duplicate(_)));
    publish(&broker, message("t", "after")).await;
    assert_eq!(client.texts(2).await, ["frozen", "after"]);
    assert_eq!(node.texts().await, ["before", "frozen", "after"]);
    stage.close().await;
}

/// A server that is frozen and not asked for anything is noticed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_noticed_by_a_quiet_node() {
    let stand = Stand::start().await.with(|config| {
        config.timeout = Duration::from_secs(1);
        config.sweep_interval = Duration::from_secs(3600);
    });
    let bus = stand.bus().await;
    // The first sweep is over when the sweeper is there.
    until("the first sweep", || async { !stand.keys("sweeper").await.is_empty() }).await;
    stand.server.pause().unwrap();
    let frozen = Instant::now();
    let reason = down(&bus).await;
    assert!(reason.contains("does not answer in time"), "{reason}");
    assert!(frozen.elapsed() < Duration::from_secs(3), "{:?}", frozen.elapsed());
    stand.server.resume().unwrap();
    assert!(up(&bus).await);
    bus.close().await.unwrap();
}

/// A link that carries nothing any more and was not cut: noticed, left, and made anew when it
/// carries again, without a storm of attempts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_link_is_noticed_and_made_anew() {
    let stand = Stand::start().await;
    let wire = Forwarder::to(stand.server.port()).await;
    let port = wire.port();
    let remote = stand.with(move |config| {
        config.addresses[0].1 = port;
        config.timeout = Duration::from_millis(500);
        config.ping_interval = Duration::from_millis(200);
        config.sweep_interval = Duration::from_secs(3600);
    });
    let (stage, far) = (stand.stage(), remote.stage());
    let (near, node) = (stage.node().await, far.node().await);
    let broker = node.broker_with(|config| config.probe_interval = Duration::from_secs(3600));
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    store(near.bus(), message("t", "1")).await;
    assert_eq!(client.texts(1).await, ["1"]);
    wire.stop();
    let stopped = Instant::now();
    store(near.bus(), message("t", "2")).await;
    down(node.bus()).await;
    assert!(stopped.elapsed() < Duration::from_secs(3), "{:?}", stopped.elapsed());
    let before = wire.taken();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let tried = wire.taken() - before;
    assert!((1..=10).contains(&tried), "it tries, and not like mad: {tried}");
    wire.go_on();
    assert!(up(node.bus()).await);
    assert_eq!(client.texts(1).await, ["2"]);
    let (before, connects) = (wire.taken(), node.bus().health().get().connects);
    store(near.bus(), message("t", "3")).await;
    assert_eq!(client.texts(1).await, ["3"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(wire.taken(), before, "a link that works is left alone");
    assert_eq!(node.bus().health().get().connects, connects);
    far.close().await;
    stage.close().await;
}

/// A feed that is cut as soon as it is there: attempts come slower and slower, not as fast as can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_breaks_as_soon_as_it_is_up_is_not_made_anew_at_once() {
    let stand = Stand::start().await.with(|config| {
        config.reconnect_max = Duration::from_secs(1);
    });
    let bus = stand.bus().await;
    let mut conn = stand.server.connect().await.unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        conn.call(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let connects = bus.health().get().connects;
    assert!((3..30).contains(&connects), "{connects}");
    assert!(up(&bus).await);
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    bus.close().await.unwrap();
}

/// `REPLICAOF` under a running node: what cannot be written is said, the node waits for a primary,
/// and a promotion that lost nothing costs its clients nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_becomes_a_replica_is_left_and_taken_up_again() {
    let stand = Stand::start().await;
    let other = RedisServer::replica_of(&stand.server).await.unwrap();
    let stage = stand.stage();
    let node = stage.node().await;
    let (bus, broker) = (node.bus(), node.broker());
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    assert_eq!(client.texts(1).await, ["1"]);
    other.wait_synced().await.unwrap();
    other.promote().await.unwrap();
    stand.server.follow(&other).await.unwrap();
    let error = within("a publish", bus.publish(message("t", "no"))).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("replica"), "{error}");
    eventually("the node says why", || {
        let health = bus.health().get();
        !health.up && health.reason.is_some_and(|reason| reason.contains("is a replica"))
    })
    .await;
    stand.server.wait_synced().await.unwrap();
    stand.server.promote().await.unwrap();
    assert!(up(bus).await);
    publish(&broker, message("t", "2")).await;
    assert_eq!(client.texts(1).await, ["2"]);
    stage.close().await;
}

/// A server that still loads its data is waited for, and said to load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loading_server_is_waited_for() {
    let options = RedisOptions::default().with_config("key-load-delay 200");
    let stand =
        Stand::start_with(options.with_config("loading-process-events-interval-bytes 1024")).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    assert_eq!(client.texts(1).await, ["1"]);
    stand
        .say(&[
            "EVAL",
            "for n = 1, 20000 do redis.call('SET', 'x' .. n, string.rep('x', 100)) end",
            "0",
        ])
        .await;
    stand.say(&["SAVE"]).await;
    stand.server.kill().await.unwrap();
    stand.server.start_loading().await.unwrap();
    eventually("the node says that it loads", || {
        node.bus().health().get().reason.is_some_and(|reason| reason.contains("loading"))
    })
    .await;
    let error = node.bus().publish(message("t", "no")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("loading"), "{error}");
    // Spooled meanwhile.
    publish(&broker, message("t", "2")).await;
    assert_eq!(client.texts(1).await, ["2"]);
    stage.close().await;
}
