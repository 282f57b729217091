//! Servers that come back with less than they had, and streams that are deleted, replaced and put
//! back: numbers that were given out are never given out again in silence.

use std::time::Duration;

use serde_json::{Value, json};
use tavern_backend::Published;
use tavern_testkit::engine::{NatsFlavor, NatsServer};
use tavern_testkit::say::message;
use tavern_testkit::wait::within;
use tavern_testkit::{Client, publish};

use crate::stand::{LOG, META, Stand, append, on_both, reasons, store_all, texts, until};

const HOUR: Duration = Duration::from_secs(3600);

on_both! {
    connected_clients_are_told_of_the_lost_tail,
    every_node_restarts_with_the_rewind,
    the_first_publisher_saw_nothing_of_the_lost_tail,
    a_restart_that_lost_nothing_costs_no_gap,
    a_stream_that_is_deleted_begins_a_new_log,
    a_stream_that_another_node_makes_anew_is_a_new_log,
    a_stream_that_is_put_back_from_a_backup_loses_its_tail_aloud,
}

/// Nodes and clients stay connected while the server comes back with an older state.
async fn connected_clients_are_told_of_the_lost_tail(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let brokers = [stage.node().await.broker(), stage.node().await.broker()];
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    let mut cursors = Vec::new();
    for client in &mut clients {
        client.opened().await;
    }
    for n in 1..=10 {
        if n == 6 {
            stand.server.save_snapshot().await.unwrap();
        }
        cursors.push(publish(&brokers[0], message("t", n.to_string())).await);
    }
    for client in &mut clients {
        assert_eq!(client.texts(10).await, texts(1..=10));
    }
    stand.server.rewind().await.unwrap();
    for n in 11..=15 {
        publish(&brokers[1], message("t", n.to_string())).await;
    }
    for client in &mut clients {
        assert_eq!(client.gap().await.reason.as_str(), "epoch");
        assert_eq!(client.texts(5).await, texts(11..=15), "all that is new");
    }
    for (n, cursor) in (1..).zip(cursors) {
        let (replay, _) = Client::resume(&brokers[0], &["t"], cursor).replay().await;
        assert_eq!(reasons(&replay), ["epoch"], "acknowledged messages were lost behind {n}");
        assert_eq!(replay.texts(), texts((n + 1..=5).chain(11..=15)), "behind {n}");
    }
    stage.close().await;
}

/// Nobody remembers what was lost: whoever was within what is left goes on in silence.
async fn every_node_restarts_with_the_rewind(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let mut cursors = store_all(&node, 1..=5).await;
    stand.server.save_snapshot().await.unwrap();
    cursors.extend(store_all(&node, 6..=10).await);
    stage.close().await;
    stand.server.rewind().await.unwrap();
    let node = stage.node().await;
    store_all(&node, 11..=17).await;
    let broker = stage.node().await.broker();
    for (n, cursor) in (1..).zip(cursors) {
        let mut client = Client::resume(&broker, &["t"], cursor);
        if n <= 5 {
            let expected = texts((n + 1..=5).chain(11..=17));
            assert_eq!(client.complete_replay().await, expected, "behind {n}");
        } else {
            let (replay, _) = client.replay().await;
            assert_eq!(reasons(&replay), ["epoch"], "{n} is lost");
            assert_eq!(replay.texts(), texts(11..=17), "behind {n}");
        }
    }
    stage.close().await;
}

/// Who publishes first saw nothing of the lost tail; who saw it comes later.
async fn the_first_publisher_saw_nothing_of_the_lost_tail(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let witness = stage.node().await;
    let broker = witness.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let gone = stage.node().await;
    let mut cursors = store_all(&gone, 1..=5).await;
    stand.server.save_snapshot().await.unwrap();
    cursors.extend(store_all(&gone, 6..=10).await);
    assert_eq!(client.texts(10).await, texts(1..=10));
    // It comes back when the others have gone on.
    witness.cable().cut();
    stage.forget(&gone);
    gone.bus().close().await.unwrap();
    stand.server.rewind().await.unwrap();
    let stranger = stage.node().await;
    let first = store_all(&stranger, 11..=17).await[0];
    assert_eq!(first.0.seq, cursors[5].0.seq, "the number was given out before");
    assert_ne!(first.0.epoch, cursors[0].0.epoch, "whoever appends opens the epoch");
    let other = stage.node().await.broker();
    let silent = Client::resume(&other, &["t"], cursors[4]).complete_replay().await;
    assert_eq!(silent, texts(11..=17), "nobody knows of a loss yet");

    until("the witness is back", || async { witness.cable().heal().await.is_ok() }).await;
    assert_eq!(client.gap().await.reason.as_str(), "epoch");
    assert_eq!(client.texts(7).await, texts(11..=17));
    publish(&broker, message("t", "18")).await;
    let fork = stranger.head().await.lineage.forks[0];
    assert_eq!(
        (fork.at, fork.lost_through),
        (cursors[4].0.seq, cursors[9].0.seq),
        "it says what it knows"
    );
    stage.close().await;
}

/// The server had everything: whoever is connected or comes back notices nothing but another epoch.
async fn a_restart_that_lost_nothing_costs_no_gap(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let brokers = [stage.node().await.broker(), stage.node().await.broker()];
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    for client in &mut clients {
        client.opened().await;
    }
    let mut cursors = Vec::new();
    for n in 1..=20 {
        if n == 11 {
            stand.kill_and_start().await;
        }
        cursors.push(publish(&brokers[n % 2], message("t", n.to_string())).await);
    }
    assert_ne!(cursors[0].0.epoch, cursors[19].0.epoch, "it was started anew all the same");
    for client in &mut clients {
        assert_eq!(client.texts(20).await, texts(1..=20));
    }
    for (n, cursor) in (1..).zip(cursors) {
        let replayed = Client::resume(&brokers[1], &["t"], cursor).complete_replay().await;
        assert_eq!(replayed, texts(n + 1..=20));
    }
    stage.close().await;
}

/// The log's stream is deleted under running nodes, alone or with what the log says of itself: a new
/// log begins, clients are told, and nothing that was meant for the old one gets into the new one.
async fn a_stream_that_is_deleted_begins_a_new_log(flavor: NatsFlavor) {
    for gone in [&[LOG][..], &[LOG, META], &[META, LOG]] {
        let stand = Stand::start(flavor).await;
        let stage = stand.stage();
        // What comes is what tells: nobody asks where the log stands.
        let nodes = [stage.node().await, stage.node().await];
        let brokers = [
            nodes[0].broker_with(|config| config.probe_interval = HOUR),
            nodes[1].broker_with(|config| config.probe_interval = HOUR),
        ];
        let mut client = Client::fresh(&brokers[1], &["t"]);
        client.opened().await;
        let mut cursors = Vec::new();
        for n in 1..=3 {
            cursors.push(publish(&brokers[0], message("t", n.to_string())).await);
        }
        assert_eq!(client.texts(3).await, texts(1..=3));
        let old = stand.subject("t").await;
        for stream in gone {
            stand.delete(stream).await;
        }
        for n in 4..=9 {
            publish(&brokers[0], message("t", n.to_string())).await;
        }
        assert_eq!(client.gap().await.reason.as_str(), "epoch", "{gone:?}");
        assert_eq!(client.texts(6).await, texts(4..=9));
        for cursor in cursors {
            let (replay, _) = Client::resume(&brokers[0], &["t"], cursor).replay().await;
            assert_eq!(reasons(&replay), ["epoch"], "{gone:?}: nothing is known of that log");
        }
        let new = stand.subject("t").await;
        assert_ne!(old, new, "the log's id is a part of its subjects");
        let (old, new) = (subjects_like(&stand, &old).await, subjects_like(&stand, &new).await);
        assert_eq!((old, new), (0, 6));
        stage.close().await;
    }
}

/// Another node makes the stream anew while this one is idle, and fills it beyond what was there.
async fn a_stream_that_another_node_makes_anew_is_a_new_log(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let idle = stage.node().await;
    let broker = idle.broker_with(|config| config.probe_interval = HOUR);
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let cursors = store_all(&idle, 1..=3).await;
    assert_eq!(client.texts(3).await, texts(1..=3));
    stand.delete(LOG).await;
    let other = stage.node().await;
    let first = store_all(&other, 4..=9).await[0];
    assert_ne!(first.0.epoch, cursors[0].0.epoch);
    assert_eq!(client.gap().await.reason.as_str(), "epoch");
    assert_eq!(client.texts(6).await, texts(4..=9));
    // It publishes into the new one, whatever it knew.
    let after = append(idle.bus(), vec![idle.publication(message("t", "10"))]).await;
    assert!(matches!(after[0], Published::Stored(p) if p.seq == 7), "{after:?}");
    let other = other.broker();
    let (replay, _) = Client::resume(&other, &["t"], cursors[1]).replay().await;
    assert_eq!(reasons(&replay), ["epoch"]);
    stage.close().await;
}

/// An operator deletes the stream and restores a backup, whose time of creation is the old one, while
/// nodes are connected that saw more than it has.
async fn a_stream_that_is_put_back_from_a_backup_loses_its_tail_aloud(flavor: NatsFlavor) {
    // A node that looks finds no stream, and makes one: nobody looks meanwhile.
    let stand = Stand::start(flavor).await.with(|config| config.sweep_interval = HOUR);
    let stage = stand.stage();
    let nodes = [stage.node().await, stage.node().await];
    let brokers =
        nodes.each_ref().map(|node| node.broker_with(|config| config.probe_interval = HOUR));
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    for client in &mut clients {
        client.opened().await;
    }
    let mut cursors = store_all(&nodes[0], 1..=5).await;
    let backup = Backup::of(&stand.server, LOG).await;
    cursors.extend(store_all(&nodes[0], 6..=10).await);
    for client in &mut clients {
        assert_eq!(client.texts(10).await, texts(1..=10));
    }
    stand.delete(LOG).await;
    backup.restore(&stand.server, LOG).await;
    let first = publish(&brokers[1], message("t", "11")).await;
    assert_ne!(first.0.epoch, cursors[5].0.epoch, "{first:?} was given out before");
    for n in 12..=15 {
        publish(&brokers[0], message("t", n.to_string())).await;
    }
    let new = texts(11..=15);
    for client in &mut clients {
        assert_eq!(client.gap().await.reason.as_str(), "epoch");
        // Nobody noticed before the first was stored: the gap may speak of that, too.
        let mut rest = client.texts(1).await;
        while rest.last() != new.last() {
            rest.extend(client.texts(1).await);
        }
        assert!(new.ends_with(&rest), "{rest:?}");
    }
    assert_eq!(nodes[0].texts().await, texts((1..=5).chain(11..=15)), "each once");
    for cursor in cursors {
        let (replay, _) = Client::resume(&brokers[0], &["t"], cursor).replay().await;
        assert_eq!(reasons(&replay), ["epoch"], "{cursor:?}");
    }
    stage.close().await;
}

/// How many messages of the log's stream lie on this subject.
async fn subjects_like(stand: &Stand, subject: &str) -> u64 {
    let body = json!({ "subjects_filter": subject });
    let info = stand.js(&format!("STREAM.INFO.{LOG}"), body).await;
    let subjects = info["state"]["subjects"].as_object();
    subjects.map_or(0, |subjects| subjects.values().filter_map(Value::as_u64).sum())
}

/// A stream as the server's own backup has it.
struct Backup {
    /// Its settings and its state, as a restore wants them.
    request: Value,
    chunks: Vec<Vec<u8>>,
}

impl Backup {
    async fn of(server: &NatsServer, stream: &str) -> Self {
        within("a backup", async {
            let mut conn = server.connect().await.unwrap();
            conn.subscribe("backup").await.unwrap();
            let body = json!({ "deliver_subject": "backup", "no_consumers": true });
            let begun = conn.js(&format!("STREAM.SNAPSHOT.{stream}"), body).await.unwrap();
            let mut chunks = Vec::new();
            loop {
                let chunk = conn.next().await.unwrap();
                if chunk.payload.is_empty() {
                    break;
                }
                // Newer servers send several without waiting.
                if let Some(reply) = chunk.reply {
                    conn.publish(&reply, "").await.unwrap();
                }
                chunks.push(chunk.payload);
            }
            let request = json!({ "config": begun["config"], "state": begun["state"] });
            Self { request, chunks }
        })
        .await
    }

    async fn restore(self, server: &NatsServer, stream: &str) {
        within("a restore", async {
            let mut conn = server.connect().await.unwrap();
            let begun = conn.js(&format!("STREAM.RESTORE.{stream}"), self.request).await.unwrap();
            let to = begun["deliver_subject"].as_str().unwrap().to_owned();
            for chunk in self.chunks {
                conn.request(&to, chunk).await.unwrap();
            }
            let ended = conn.request(&to, "").await.unwrap();
            let ended: Value = serde_json::from_slice(&ended).unwrap();
            assert!(ended.get("error").is_none(), "{ended}");
        })
        .await;
    }
}
