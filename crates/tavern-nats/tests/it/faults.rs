//! A server that hurts: what it kills, refuses and forgets, while nodes publish and listen.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tavern_backend::{Append, Error, FeedEvent, Publication, Published, ReadQuery};
use tavern_testkit::engine::{NatsFlavor, NatsOptions};
use tavern_testkit::say::{filter, message};
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, a_stream_survives, publish, publish_all};

use crate::forwarder::Forwarder;
use crate::stand::{Stand, keeping, on_both, store, up};

on_both! {
    killed_servers_lose_nothing,
    cut_connections_lose_nothing,
    frozen_servers_are_waited_for,
    a_full_store_refuses_with_advice_and_takes_more_when_there_is_room,
    a_full_disk_is_said_and_costs_nothing_that_was_acknowledged,
    what_was_refused_in_the_middle_is_not_overtaken,
}

/// Messages that each of two nodes publishes while the server is hurt.
const PUBLISHED: u64 = 600;

async fn killed_servers_lose_nothing(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    a_stream_survives(stand.stage(), PUBLISHED, 4, async |_| stand.kill_and_start().await).await;
}

async fn cut_connections_lose_nothing(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let wire = Forwarder::to(stand.server.port()).await;
    a_stream_survives(stand.through(wire.port()).stage(), PUBLISHED, 8, async |_| wire.cut()).await;
    assert!(wire.taken() >= 2 * 3 * 8, "{}: all three of both nodes, each time", wire.taken());
}

async fn frozen_servers_are_waited_for(flavor: NatsFlavor) {
    let stand =
        Stand::start(flavor).await.with(|config| config.timeout = Duration::from_millis(400));
    a_stream_survives(stand.stage(), PUBLISHED, 2, async |_| {
        stand.server.pause().unwrap();
        tokio::time::sleep(Duration::from_millis(900)).await;
        stand.server.resume().unwrap();
    })
    .await;
}

/// Takes up room in the server's store until it takes no more; the stream that does goes by this
/// name.
async fn fill(stand: &Stand, stream: &str) {
    let mut conn = stand.server.connect().await.unwrap();
    let settings = json!({ "name": stream, "subjects": [stream], "storage": "file" });
    conn.js(&format!("STREAM.CREATE.{stream}"), settings).await.unwrap();
    let body = vec![b'x'; 60_000];
    within("the store is full", async { while conn.store(stream, &[], &body).await.is_ok() {} })
        .await;
}

/// `max_file_store`: a clear refusal with nothing half done, the link stays, live topics go on, and
/// what was spooled is stored when there is room.
async fn a_full_store_refuses_with_advice_and_takes_more_when_there_is_room(flavor: NatsFlavor) {
    let options = NatsOptions::new(flavor).with_max_store(2 << 20);
    let stand = Stand::start_with(options).await;
    let stage = stand.stage();
    let nodes = [stage.node_keeping(keeping(1000)).await, stage.node_keeping(keeping(1000)).await];
    let (bus, broker) = (nodes[0].bus(), nodes[1].broker());
    let mut client = Client::fresh(&broker, &["t", "live/a"]);
    client.opened().await;
    store(bus, message("t", "1")).await;
    assert_eq!(client.texts(1).await, ["1"]);
    fill(&stand, "FILLER").await;
    for n in 0..20 {
        let error =
            within("a publish", bus.publish(message("t", n.to_string()))).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "nothing was done: {error:?}");
        assert!(error.to_string().contains("no room"), "what to do: {error}");
    }
    assert_eq!(
        within("a publish", bus.publish(message("live/a", "live"))).await.unwrap(),
        Published::Live
    );
    assert_eq!(client.texts(1).await, ["live"]);
    assert_eq!(bus.health().get().connects, 1, "a server that is full is there");
    let mut spooled = tokio::task::JoinSet::new();
    let second = nodes[0].broker();
    spooled.spawn(publish(&second, message("t", "2")));
    eventually("the message waits in the spool", || second.status().counters.spooled == 1).await;
    stand.delete("FILLER").await;
    within("the spool drains", spooled.join_all()).await;
    assert_eq!(client.texts(1).await, ["2"]);
    assert_eq!(nodes[1].texts().await, ["1", "2"]);
    stage.close().await;
}

/// Room comes back while many are on their way: of one topic none passes another that was refused.
async fn what_was_refused_in_the_middle_is_not_overtaken(flavor: NatsFlavor) {
    let options = NatsOptions::new(flavor).with_max_store(2 << 20);
    let stand = Stand::start_with(options).await;
    let stage = stand.stage();
    let node = stage.node_keeping(keeping(100_000)).await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "0")).await;
    for round in 0..3_usize {
        fill(&stand, "FILLER").await;
        node.bus().publish(message("other", "there is no room")).await.unwrap_err();
        let many = (1..=1000).map(|n| message("t", (round * 1000 + n).to_string())).collect();
        let mut waiting = tokio::task::JoinSet::new();
        waiting.spawn(publish_all(&broker, many));
        stand.delete("FILLER").await;
        within("all are stored", waiting.join_all()).await;
    }
    let texts = client.texts(3001).await;
    let wrong = texts.iter().enumerate().find(|(n, text)| **text != n.to_string());
    assert_eq!(wrong, None, "in the order in which they were published");
    stage.close().await;
}

/// A mounted file system, gone with this value.
struct Mounted(PathBuf);

impl Mounted {
    /// A small one in memory, or nothing where this process may not mount.
    fn new(at: PathBuf, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=0777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tavern-test"]).arg(&at);
        let done = mount.output().is_ok_and(|output| output.status.success());
        done.then_some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What still uses it keeps it until it ends.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// The disk itself is full, which the server takes hard: it switches JetStream off. Said, waited for,
/// and after a restart with room everything that was acknowledged is there, and what waits is stored.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
async fn a_full_disk_is_said_and_costs_nothing_that_was_acknowledged(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    stand.server.kill().await.unwrap();
    let Some(_mounted) = Mounted::new(stand.server.dir().join("store"), "6m") else {
        println!("skipped: this process may not mount a small file system to fill");
        return;
    };
    stand.server.start_again().await.unwrap();
    let stage = stand.stage();
    let node = stage.node_keeping(keeping(100_000)).await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let filler = stand.server.dir().join("store").join("filler");
    let mut stored = Vec::new();
    let large = "x".repeat(20_000);
    let error = within("the disk is full", async {
        loop {
            let text = format!("{}:{large}", stored.len());
            match node.bus().publish(message("t", text.clone())).await {
                Ok(Published::Stored(_)) => stored.push(text),
                Ok(other) => panic!("stored, not {other:?}"),
                Err(error) => return error,
            }
            if stored.len() == 20 {
                // The rest goes at once. It ends early, as there is not so much.
                let _ = std::fs::write(&filler, vec![0; 8 << 20]);
            }
        }
    })
    .await;
    assert!(error.is_transient(), "{error:?}");
    assert!(stored.len() >= 20, "{}", stored.len());
    let mut spooled = tokio::task::JoinSet::new();
    spooled.spawn(publish(&broker, message("t", "last")));
    std::fs::remove_file(&filler).unwrap();
    stand.kill_and_start().await;
    assert!(up(node.bus()).await);
    within("the spool drains", spooled.join_all()).await;
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != "last") {
        texts.extend(client.texts(1).await);
    }
    texts.pop();
    // The one with the error may be there, too.
    assert!(texts.len() <= stored.len() + 1, "{} of {}", texts.len(), stored.len());
    assert!(texts.starts_with(&stored), "what was acknowledged is there");
    stage.close().await;
}

/// More pushes than all queues on the way hold, and nobody takes them: they are dropped, and who
/// counts and reads has them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_nobody_reads_is_made_up_for_by_counting() {
    const MESSAGES: u64 = 60_000;
    let stand = Stand::start(NatsFlavor::Debian).await.with(|config| {
        config.timeout = Duration::from_secs(10);
        config.retention = Some(keeping(300_000));
    });
    let (publisher, reader) = (stand.bus().await, stand.bus().await);
    let position = reader.add_interest(&[filter("t")]).await.unwrap();
    assert_eq!(position.seq, 0);
    let mut feed = reader.feed().unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for chunk in 0..MESSAGES / 1000 {
        let publications = (0..1000)
            .map(|n| Publication {
                key: publisher.next_key(),
                // All together more than a feed holds in bytes.
                envelope: message("t", format!("{:01500}", chunk * 1000 + n + 1)),
                accepted: tokio::time::Instant::now(),
            })
            .collect();
        let bus = publisher.clone();
        calls.spawn(async move { bus.append(Append { known: None, publications }).await.unwrap() });
        // In this order.
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(60), calls.join_all()).await.expect("all are stored");
    let head = reader.head().await.unwrap();
    assert_eq!(head.position.seq, MESSAGES);
    let (mut next, mut pushed, mut read) = (1, 0_u64, 0_u64);
    let mut counted = vec![false; usize::try_from(MESSAGES).unwrap() + 1];
    let take = |counted: &mut Vec<bool>, seq: u64| {
        let seq = usize::try_from(seq).unwrap();
        assert!(!std::mem::replace(&mut counted[seq], true), "{seq} twice");
    };
    while next <= MESSAGES {
        let events = tokio::time::timeout(Duration::from_millis(500), feed.recv()).await;
        let events = events.ok().flatten().unwrap_or_default();
        let quiet = events.is_empty();
        let mut came = events.iter().filter_map(|event| match event {
            FeedEvent::Entry(entry) => Some(entry.position.seq),
            _ => None,
        });
        loop {
            let seq = came.next();
            let to = seq.map_or(if quiet { MESSAGES } else { next - 1 }, |seq| seq - 1);
            while next <= to {
                let query = ReadQuery::range(next - 1, to).with_limit(4096);
                let page = within("a page", reader.read(query)).await.unwrap();
                for entry in &page.entries {
                    take(&mut counted, entry.position.seq);
                    read += 1;
                }
                next = page.to + 1;
            }
            let Some(seq) = seq else { break };
            take(&mut counted, seq);
            pushed += 1;
            next = seq + 1;
        }
    }
    assert!(counted[1..].iter().all(|seen| *seen));
    assert_eq!(pushed + read, MESSAGES);
    assert!(read > 0, "some were dropped");
    assert!(reader.healthy(), "and that cost no link");
    for bus in [publisher, reader] {
        bus.close().await.unwrap();
    }
}
