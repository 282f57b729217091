//! A server that is gone for a while: killed, frozen, cut off.

use std::time::Duration;

use tavern_backend::{Append, Error, Published};
use tavern_testkit::engine::NatsFlavor;
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tavern_testkit::{Client, Node, publish, publish_all};
use tokio::time::Instant;

use crate::forwarder::Forwarder;
use crate::stand::{Stand, append, down, on_both, store, up};

on_both! {
    a_killed_server_has_what_it_acknowledged_and_the_rest_settles_by_key,
    what_was_stored_without_an_answer_is_stored_once_over_a_restart,
    a_frozen_server_is_noticed_and_stores_once,
}

/// kill -9 in the middle: what was acknowledged is there. What was not has an unknown outcome, or
/// was not sent; sent again under its key it is there once, and where it was said to be.
async fn a_killed_server_has_what_it_acknowledged_and_the_rest_settles_by_key(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let bus = node.bus().clone();
    let publications: Vec<_> = (0..4000)
        .map(|n| node.publication(message(&format!("t/{}", n % 7), n.to_string())))
        .collect();
    let mut seqs = vec![None; publications.len()];
    let send = |n: usize| {
        let (bus, publication) = (bus.clone(), publications[n].clone());
        async move { (n, bus.append(Append { known: None, publications: vec![publication] }).await) }
    };
    let (mut open, mut killed) = (Vec::new(), false);
    let mut calls: tokio::task::JoinSet<_> = (0..publications.len()).map(send).collect();
    while let Some(done) = within("an answer", calls.join_next()).await {
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
    // As the broker does it: in the order of the keys.
    open.sort_unstable();
    let again = open.iter().map(|n| publications[*n].clone()).collect();
    for (n, published) in open.iter().zip(append(&bus, again).await) {
        match published {
            Published::Stored(position) | Published::Duplicate(position) => {
                seqs[*n] = Some(position.seq);
            }
            ref other => panic!("stored in the end, not {other:?}"),
        }
    }
    let pages = node.read_all().await;
    let mut found = vec![None; publications.len()];
    for entry in pages.iter().flat_map(|page| &page.entries) {
        let n: usize = entry.envelope().data.as_str().parse().unwrap();
        assert_eq!(found[n].replace(entry.position.seq), None, "{n} is there twice");
    }
    let wrong: Vec<_> = found.iter().zip(&seqs).enumerate().filter(|(_, (a, b))| a != b).collect();
    assert!(wrong.is_empty(), "{} are not where they were said to be: {:?}", wrong.len(), wrong[0]);
    stage.close().await;
}

/// Stored, and the answer lost on its way, and the server killed and started again: sent again under
/// its key it is known.
async fn what_was_stored_without_an_answer_is_stored_once_over_a_restart(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let wire = Forwarder::to(stand.server.port()).await;
    let remote =
        stand.through(wire.port()).with(|config| config.timeout = Duration::from_millis(500));
    let (stage, far) = (stand.stage(), remote.stage());
    let (near, node) = (stage.node().await, far.node().await);
    let publications: Vec<_> =
        (0..50).map(|n| node.publication(message("t", n.to_string()))).collect();
    store(node.bus(), message("t", "first")).await;
    wire.mute();
    let lost = Append { known: None, publications: publications.clone() };
    let error = within("an append", node.bus().append(lost)).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    let all = (0..50).map(|n| n.to_string());
    let all: Vec<_> = std::iter::once("first".to_owned()).chain(all).collect();
    assert_eq!(near.texts().await, all, "it is stored");
    stand.server.kill().await.unwrap();
    wire.cut();
    wire.go_on();
    stand.server.start_again().await.unwrap();
    assert!(up(node.bus()).await && up(near.bus()).await);
    let published = append(node.bus(), publications).await;
    let seqs = published.iter().map(|published| match published {
        Published::Duplicate(position) => position.seq,
        other => panic!("a duplicate, not {other:?}"),
    });
    assert_eq!(seqs.collect::<Vec<_>>(), (2..52).collect::<Vec<_>>());
    assert_eq!(near.texts().await, all);
    far.close().await;
    stage.close().await;
}

/// SIGSTOP: noticed by asking, the outcome of what was under way is unknown; after SIGCONT the log
/// has it once, however often it was sent.
async fn a_frozen_server_is_noticed_and_stores_once(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await.with(|config| config.timeout = Duration::from_secs(1));
    let stage = stand.stage();
    let node = stage.node().await;
    let (bus, broker) = (node.bus(), node.broker());
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    assert_eq!(store(bus, message("t", "before")).await, 1);
    assert_eq!(client.texts(1).await, ["before"]);
    let waiting = node.publication(message("t", "frozen"));
    let send = || {
        let publications = vec![waiting.clone()];
        within("an append", bus.append(Append { known: None, publications }))
    };
    stand.server.pause().unwrap();
    let frozen = Instant::now();
    let error = send().await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    assert!(!down(bus).await.is_empty());
    assert!(frozen.elapsed() < Duration::from_secs(4), "{:?}", frozen.elapsed());
    let error = send().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "nothing was sent: {error:?}");
    while frozen.elapsed() < Duration::from_secs(5) {
        send().await.unwrap_err();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stand.server.resume().unwrap();
    assert!(up(bus).await);
    let published = append(bus, vec![waiting.clone()]).await;
    assert!(matches!(published[0], Published::Stored(_) | Published::Duplicate(_)));
    publish(&broker, message("t", "after")).await;
    assert_eq!(client.texts(2).await, ["frozen", "after"]);
    assert_eq!(node.texts().await, ["before", "frozen", "after"]);
    stage.close().await;
}

/// A server that is frozen and not asked for anything is noticed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_noticed_by_a_quiet_node() {
    let stand = Stand::start(NatsFlavor::Current).await.with(|config| {
        config.timeout = Duration::from_secs(1);
        config.ping_interval = Duration::from_millis(200);
        config.sweep_interval = Duration::from_secs(3600);
    });
    let bus = stand.bus().await;
    stand.server.pause().unwrap();
    let frozen = Instant::now();
    down(&bus).await;
    assert!(frozen.elapsed() < Duration::from_secs(3), "{:?}", frozen.elapsed());
    stand.server.resume().unwrap();
    assert!(up(&bus).await);
    bus.close().await.unwrap();
}

/// A link that carries nothing any more and was not cut: noticed, left, and made anew when it
/// carries again, without a storm of attempts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_link_is_noticed_and_made_anew() {
    let stand = Stand::start(NatsFlavor::Debian).await;
    let wire = Forwarder::to(stand.server.port()).await;
    let remote = stand.through(wire.port()).with(|config| {
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
    assert!((1..=30).contains(&tried), "it tries, and not like mad: {tried}");
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

/// Answers that do not come any more, with the way there open: what was published then is stored
/// once and in order, whatever became of the acknowledgements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_acknowledgements_invert_nothing() {
    let stand = Stand::start(NatsFlavor::Debian).await;
    let wire = Forwarder::to(stand.server.port()).await;
    let remote =
        stand.through(wire.port()).with(|config| config.timeout = Duration::from_millis(400));
    let (stage, far) = (stand.stage(), remote.stage());
    let (near, node) = (stage.node().await, far.node().await);
    let broker = node.broker();
    let reader = near.broker();
    let mut client = Client::fresh(&reader, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "0")).await;
    for round in 0..3 {
        wire.mute();
        let ten = (1..=10).map(|n| message("t", (round * 10 + n).to_string())).collect();
        let mut waiting = tokio::task::JoinSet::new();
        waiting.spawn(publish_all(&broker, ten));
        down(node.bus()).await;
        wire.cut();
        wire.go_on();
        within("all are settled", waiting.join_all()).await;
    }
    let all: Vec<_> = (0..=30).map(|n| n.to_string()).collect();
    assert_eq!(client.texts(31).await, all);
    assert_eq!(near.texts().await, all);
    far.close().await;
    stage.close().await;
}

/// A link that is cut as soon as it is there: attempts come slower and slower, not as fast as can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_breaks_as_soon_as_it_is_up_is_not_made_anew_at_once() {
    let stand = Stand::start(NatsFlavor::Current).await;
    let wire = Forwarder::to(stand.server.port()).await;
    let remote =
        stand.through(wire.port()).with(|config| config.reconnect_max = Duration::from_secs(1));
    let bus = remote.bus().await;
    let before = bus.health().get().connects;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        if bus.healthy() {
            wire.cut();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let connects = bus.health().get().connects - before;
    assert!((3..30).contains(&connects), "{connects}");
    assert!(up(&bus).await);
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    bus.close().await.unwrap();
}

/// A node that is closed while its server is away ends all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_server_closes() {
    let long = Duration::from_secs(20);
    let stand = Stand::start(NatsFlavor::Current).await.with(move |config| config.timeout = long);
    for pause in [true, false] {
        let stage = stand.stage();
        let node: Node = stage.node().await;
        if pause {
            stand.server.pause().unwrap();
        } else {
            stand.server.kill().await.unwrap();
        }
        let begun = Instant::now();
        let open = tokio::time::timeout(
            Duration::from_millis(50),
            node.bus().publish(message("t", "nobody takes it")),
        );
        assert!(!matches!(open.await, Ok(Ok(_))));
        stage.close().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(matches!(node.bus().head().await.unwrap_err(), Error::Closed));
        if pause {
            stand.server.resume().unwrap();
        }
    }
}
