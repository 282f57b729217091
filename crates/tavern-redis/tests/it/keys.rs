//! Keys of the log that are evicted, deleted, of another type, or of a newer version.

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Error, Published, ReadQuery};
use tavern_redis::RedisBackend;
use tavern_testkit::engine::RedisOptions;
use tavern_testkit::say::{Also, filters, id, lane, message};
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, publish, publish_all};

use crate::stand::{Stand, store, until};

/// Any key of the log may go: what a client gets from then on is everything, or a gap in its place.
async fn never_silence_without(end: &str) {
    let stand =
        Stand::start().await.with(|config| config.sweep_interval = Duration::from_secs(3600));
    let stage = stand.stage();
    let nodes = [stage.node().await, stage.node().await];
    let brokers = [nodes[0].broker(), nodes[1].broker()];
    let mut watcher = Client::fresh(&brokers[1], &["t"]);
    let mut scoped = Client::scoped(&brokers[1], &["t"], "s");
    let (before, before_scoped) = (watcher.opened().await, scoped.opened().await);
    let mut envelopes = vec![message("gone", "0").id("x")];
    for n in 1..=3 {
        envelopes.push(message("t", n.to_string()).id(&n.to_string()));
        envelopes.push(message("t", format!("s{n}")).scope("s"));
        // So many that a reader looks at the topics it wants and not at all that changed.
        envelopes.extend((0..20).map(|other| message(&format!("o/{other}"), "x")));
    }
    publish_all(&brokers[0], envelopes).await;
    assert_eq!(watcher.texts(3).await, ["1", "2", "3"]);
    assert_eq!(scoped.texts(3).await, ["s1", "s2", "s3"]);
    let keys = stand.keys(end).await;
    assert!(!keys.is_empty(), "there is a key `{end}`");
    for key in keys {
        stand.say(&["DEL", &key]).await;
    }
    // Another node, which has none of it in its memory.
    let third = stage.node().await.broker();
    let mut late = Client::resume(&third, &["t"], before);
    let late_scoped = third.subscribe(["t"]).scope("s").resume(before_scoped);
    let mut late_scoped = Client::open(late_scoped);
    for (client, all) in [(&mut late, ["1", "2", "3"]), (&mut late_scoped, ["s1", "s2", "s3"])] {
        let (replay, reconnected) = client.replay().await;
        if replay.gaps.is_empty() {
            assert_eq!(replay.texts(), all, "`{end}` is gone, and nothing is said of it");
        } else {
            assert!(!reconnected.complete);
            assert!(all.ends_with(&replay.texts()), "{:?}", replay.texts());
        }
    }
    // And on it goes, on each node.
    publish(&brokers[0], message("t", "4").id("4")).await;
    publish(&third, message("t", "5")).await;
    publish(&brokers[1], message("t", "s4").scope("s")).await;
    for (client, wanted) in [
        (&mut watcher, &["4", "5"][..]),
        (&mut scoped, &["s4"]),
        (&mut late, &["4", "5"]),
        (&mut late_scoped, &["s4"]),
    ] {
        assert_eq!(messages(client, wanted.len()).await, wanted, "without `{end}`");
    }
    stage.close().await;
}

/// The next `n` messages; gaps and news may come between.
async fn messages(client: &mut Client, n: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < n {
        let delivery = client.next("what was published then").await.unwrap().encode();
        let block = std::str::from_utf8(&delivery).unwrap();
        if !block.contains("event: tavern-") && !block.contains("event:tavern-") {
            let data = block.lines().find_map(|line| line.strip_prefix("data:"));
            texts.extend(data.map(|data| data.trim_start().to_owned()));
        }
    }
    texts
}

macro_rules! without {
    ($($name:ident: $end:literal)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            never_silence_without($end).await;
        }
    )*};
}

without! {
    nothing_is_lost_in_silence_without_meta: "meta"
    nothing_is_lost_in_silence_without_the_lanes: ":lanes"
    nothing_is_lost_in_silence_without_the_names: ":names"
    nothing_is_lost_in_silence_without_the_spine: ":spine"
    nothing_is_lost_in_silence_without_the_origins: ":origins"
    nothing_is_lost_in_silence_without_the_keys_of_nodes: ":keys:*"
    nothing_is_lost_in_silence_without_a_stream: ":lane:t"
    nothing_is_lost_in_silence_without_any_stream: ":lane:*"
    nothing_is_lost_in_silence_without_ids: ":ids:*"
    nothing_is_lost_in_silence_without_the_order_of_ids: ":order:*"
    nothing_is_lost_in_silence_without_the_sweeper: ":sweeper"
}

#[tokio::test]
async fn a_server_that_may_evict_the_log_is_refused_unless_allowed() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        let options = RedisOptions::default().with_config(format!("maxmemory-policy {policy}"));
        let stand = Stand::start_with(options).await;
        let error = stand.open().await.unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
        for word in [policy, "noeviction", "allow_eviction"] {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
        let allowed = stand.with(|config| config.allow_eviction = true);
        let bus = allowed.bus().await;
        assert_eq!(store(&bus, message("t", "1")).await, 1);
        bus.close().await.unwrap();
    }
    for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
        let options = RedisOptions::default().with_config(format!("maxmemory-policy {policy}"));
        let bus = Stand::start_with(options).await.bus().await;
        bus.close().await.unwrap();
    }
}

/// A policy that is changed under a running node is noticed when it connects next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_changes_is_noticed_at_the_next_connect() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    stand.say(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    stand.say(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    eventually("the node says why it stays away", || {
        bus.health().get().reason.is_some_and(|reason| reason.contains("allkeys-lru"))
    })
    .await;
    stand.say(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    assert!(within("the link comes back", bus.health().wait_up()).await);
    bus.close().await.unwrap();
}

/// A server that evicts for real: each topic is complete, or a gap says that it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_evicts_becomes_a_gap() {
    // The least used go: streams, as the rest is used with each append.
    let options = RedisOptions::default()
        .with_config("maxmemory-policy allkeys-lfu")
        .with_config("maxmemory-samples 10")
        .with_config("lfu-log-factor 0")
        .with_config("lfu-decay-time 0");
    let stand = Stand::start_with(options).await.with(|config| config.allow_eviction = true);
    let stage = stand.stage();
    let broker = stage.node().await.broker();
    let mut watcher = Client::fresh(&broker, &["t/0"]);
    let before = watcher.opened().await;
    for _ in 0..60 {
        publish(&broker, message("warm", "x")).await;
    }
    let used: u64 = stand.server.info("used_memory").await.unwrap().parse().unwrap();
    stand.say(&["CONFIG", "SET", "maxmemory", &(used + (3 << 20)).to_string()]).await;
    const TOPICS: usize = 100;
    for round in 0..10 {
        let envelopes = (0..TOPICS)
            .map(|topic| message(&format!("t/{topic}"), format!("{round}{}", "x".repeat(8000))));
        publish_all(&broker, envelopes.collect()).await;
    }
    let evicted: u64 = stand.server.info("evicted_keys").await.unwrap().parse().unwrap();
    assert!(evicted > 0, "the server has evicted");
    stand.say(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let third = stage.node().await.broker();
    let (mut complete, mut gaps, mut trimmed) = (0, 0, 0);
    for topic in 0..TOPICS {
        let mut client = Client::resume(&third, &[&format!("t/{topic}")], before);
        let (replay, reconnected) = client.replay().await;
        gaps += usize::from(!replay.gaps.is_empty());
        trimmed += usize::from(replay.reasons().iter().any(|reason| reason.as_str() == "trimmed"));
        if replay.gaps.is_empty() {
            assert!(reconnected.complete);
            assert_eq!(replay.messages.len(), 10, "topic {topic}: silence");
            complete += 1;
        }
    }
    assert_eq!(complete + gaps, TOPICS);
    assert!(trimmed > 0, "of {evicted} evicted keys none was a stream");
    stage.close().await;
}

/// Keys of another type under our names: said clearly, no seq is burnt, what does not need the key
/// goes on, and all does when it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_another_type_stops_its_lane_only() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let nodes = [stage.node().await, stage.node().await];
    let (bus, broker) = (nodes[0].bus(), nodes[1].broker());
    let mut client = Client::fresh(&broker, &["**"]);
    client.opened().await;
    assert_eq!(store(bus, message("t", "1")).await, 1);
    assert_eq!(client.texts(1).await, ["1"]);
    let stream = stand.key(":lane:t").await;
    stand.say(&["DEL", &stream]).await;
    stand.say(&["SET", &stream, "somebody else's"]).await;
    // Many at once go in one call.
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..40 {
        let (bus, topic) = (bus.clone(), ["t", "u"][n % 2]);
        calls.spawn(async move { (topic, bus.publish(message(topic, "2")).await) });
    }
    let mut seqs = Vec::new();
    for (topic, answer) in within("publishes", calls.join_all()).await {
        match answer {
            Ok(Published::Stored(at)) if topic == "u" => seqs.push(at.seq),
            Err(Error::Incompatible { reason }) if topic == "t" => {
                assert!(reason.contains("another program used its name"), "{reason}");
                assert!(reason.contains("delete"), "what to do: {reason}");
            }
            other => panic!("{topic}: {other:?}"),
        }
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (2..22).collect::<Vec<_>>(), "no seq is burnt");
    assert_eq!(client.texts(20).await, ["2"; 20]);
    // A reader gets the rest, and is told of the lane.
    let third = stage.node().await;
    let (replay, _) = {
        let after = nodes[1].head().await.position;
        let from = tavern_backend::Cursor(tavern_backend::Position::new(after.epoch, 0));
        Client::resume(&third.broker(), &["t", "u"], from).replay().await
    };
    assert_eq!(replay.texts(), ["2"; 20]);
    assert_eq!(replay.reasons().iter().map(|r| r.as_str()).collect::<Vec<_>>(), ["trimmed"]);
    stand.say(&["DEL", &stream]).await;
    assert_eq!(store(bus, message("t", "3")).await, 22);
    assert_eq!(messages(&mut client, 1).await, ["3"]);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_another_type_burn_no_seq() {
    for end in [":lanes", ":names", ":spine", ":origins", ":keys:*", ":ids:t", ":order:t"] {
        let stand =
            Stand::start().await.with(|config| config.sweep_interval = Duration::from_secs(3600));
        let bus = stand.bus().await;
        assert_eq!(store(&bus, message("t", "1").id("1")).await, 1);
        let key = stand.key(end).await;
        stand.say(&["RENAME", &key, "aside"]).await;
        stand.say(&["SET", &key, "somebody else's"]).await;
        for n in 0..3 {
            let fresh = message("t", "no").id(&format!("no{n}"));
            // `names` is only written to for a new lane.
            let other = message(&format!("new/{n}"), "no").id("1");
            for envelope in if end == ":names" { vec![other] } else { vec![fresh, other] } {
                let needs = !end.ends_with(":t") || envelope.topic.as_str() == "t";
                match within("a publish", bus.publish(envelope)).await {
                    Err(Error::Incompatible { reason }) => {
                        assert!(
                            needs && reason.contains("another program used its name"),
                            "{end}: {reason}"
                        );
                    }
                    other => assert!(!needs && other.is_ok(), "{end}: {other:?}"),
                }
            }
        }
        let before = within("the head", bus.head()).await.unwrap().position.seq;
        stand.say(&["DEL", &key]).await;
        stand.say(&["RENAME", "aside", &key]).await;
        assert_eq!(store(&bus, message("t", "2").id("2")).await, before + 1, "{end}");
        bus.close().await.unwrap();
    }
}

/// The metadata itself: nothing works, and the node is not ready and says why, until it is mended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_another_type_are_said_and_waited_out() {
    let stand = Stand::start().await;
    stand.say(&["SET", "{tavern:default}:meta", "somebody else's"]).await;
    let error = stand.open().await.unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    assert!(error.to_string().contains("another program used its name"), "{error}");
    stand.say(&["DEL", "{tavern:default}:meta"]).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    assert_eq!(store(node.bus(), message("t", "1")).await, 1);
    stand.say(&["RENAME", "{tavern:default}:meta", "aside"]).await;
    stand.say(&["SET", "{tavern:default}:meta", "somebody else's"]).await;
    eventually("the node is not ready and says why", || {
        let readiness = broker.readiness();
        !readiness.ready
            && readiness.reasons.iter().any(|r| r.contains("another program used its name"))
    })
    .await;
    stand.say(&["RENAME", "aside", "{tavern:default}:meta"]).await;
    eventually("the node is ready", || broker.readiness().ready).await;
    assert!(matches!(
        node.bus().publish(message("t", "2")).await.unwrap(),
        Published::Stored(at) if at.seq == 2
    ));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_at_open_and_makes_a_running_node_not_ready() {
    let stand = Stand::start().await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    assert_eq!(store(node.bus(), message("t", "1")).await, 1);
    stand.say(&["HSET", "{tavern:default}:meta", "schema", "2"]).await;
    eventually("the node is not ready and says why", || {
        let readiness = broker.readiness();
        let said = |r: &String| r.contains("schema version 2") && r.contains("update this node");
        !readiness.ready && readiness.reasons.iter().any(said)
    })
    .await;
    let error = node.bus().publish(message("t", "no")).await.unwrap_err();
    assert!(error.to_string().contains("schema version 2"), "{error}");
    let error: Error = RedisBackend::open(stand.config()).await.unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    assert!(error.to_string().contains("schema version 2"), "{error}");
    // What another release wrote is left as it is.
    assert_eq!(stand.say(&["HGET", "{tavern:default}:meta", "seq"]).await, "1");
    stand.say(&["HSET", "{tavern:default}:meta", "schema", "1"]).await;
    eventually("the node is ready", || broker.readiness().ready).await;
    assert_eq!(store(node.bus(), message("t", "2")).await, 2);
    stage.close().await;
}

/// A stream that is there and empty, as somebody's `XTRIM` leaves it, is one that lost all it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_stream_takes_messages_again() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    stand.say(&["XTRIM", &stand.key(":lane:t").await, "MAXLEN", "0"]).await;
    assert_eq!(store(&bus, message("t", "2")).await, 2);
    bus.close().await.unwrap();
}

/// Without the names of the lanes a read of few topics among many still finds each scope of theirs,
/// and the sweeper writes the names down again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_without_the_names_finds_every_scope() {
    let stand = Stand::start().await;
    let slow = stand.with(|config| config.sweep_interval = Duration::from_secs(3600));
    let bus = slow.bus().await;
    for n in 0..20 {
        store(&bus, message(&format!("o/{n}"), "x")).await;
    }
    store(&bus, message("t", "1")).await;
    store(&bus, message("t", "2").scope("s")).await;
    let names = stand.key(":names").await;
    // Where the spine reaches back far enough nobody looks for names.
    stand.say(&["DEL", &stand.key(":spine").await]).await;
    let read = || async {
        let query = ReadQuery::range(0, u64::MAX).with_filters(Arc::new(filters(&["t"])));
        let page = within("a page", bus.read(query)).await.unwrap();
        page.entries.iter().map(|e| e.envelope().data.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(read().await, ["1", "2"]);
    stand.say(&["DEL", &names]).await;
    assert_eq!(read().await, ["1", "2"], "with none of the names");
    store(&bus, message("t", "3").scope("other")).await;
    assert_eq!(read().await, ["1", "2", "3"], "with some of the names");
    stand.say(&["DEL", &stand.key(":sweeper").await]).await;
    let sweeper = stand.bus().await;
    until("the names are there again", || async { stand.say(&["ZCARD", &names]).await == "23" })
        .await;
    assert_eq!(read().await, ["1", "2", "3"]);
    sweeper.close().await.unwrap();
    bus.close().await.unwrap();
}

/// An id of a log that is gone is not found in its successor, also by a node that has not heard yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_a_log_that_is_gone_is_not_found() {
    let stand =
        Stand::start().await.with(|config| config.sweep_interval = Duration::from_secs(3600));
    let (one, two) = (stand.bus().await, stand.bus().await);
    store(&one, message("t", "1").id("x")).await;
    let find = || async {
        let (lane, id) = (lane("t", None), id("x"));
        within("an id is looked for", async { two.find(&lane, &id).await.unwrap() }).await
    };
    assert_eq!(find().await, Some(1));
    stand.say(&["DEL", &stand.key(":lanes").await]).await;
    store(&one, message("other", "1")).await;
    assert_eq!(find().await, None);
    store(&one, message("t", "2").id("x")).await;
    assert_eq!(find().await, Some(2));
    one.close().await.unwrap();
    two.close().await.unwrap();
}
