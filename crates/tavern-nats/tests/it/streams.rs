//! Streams as an operator made them, or changed them under running nodes: what differs is said, and
//! nothing is changed.

use serde_json::{Value, json};
use tavern_backend::{Bus, Error};
use tavern_nats::{Credentials, NatsBackend};
use tavern_testkit::Said;
use tavern_testkit::engine::{NatsAuth, NatsFlavor, NatsOptions};
use tavern_testkit::say::message;
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, publish};

use crate::stand::{LOG, META, Stand, keeping, on_both, reasons, settings_of_operator, store, up};

on_both! {
    a_setting_that_cannot_work_is_refused_by_name,
    messages_of_strangers_are_undecodable_and_cost_nothing,
    metadata_that_are_deleted_begin_anew,
    a_newer_schema_is_refused_at_open_and_makes_a_running_node_not_ready,
    several_replicas_on_one_server_are_refused,
    a_server_without_jetstream_says_so_and_is_waited_for,
    an_account_without_jetstream_says_so,
}

/// Creates a stream with these settings, unlike ours.
async fn made_by_operator(stand: &Stand, change: &Value) -> Value {
    let settings = settings_of_operator(change);
    stand.js(&format!("STREAM.CREATE.{LOG}"), settings).await;
    stand.settings().await
}

/// Each setting that makes a log impossible: an error that names it, at open and for a running node;
/// the stream is left as it is.
async fn a_setting_that_cannot_work_is_refused_by_name(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let feed = "tavern.default.feed.log.theirs.>";
    let ours = "tavern.default.log.theirs.>";
    let wrong = [
        (
            json!({ "subjects": [ours, "other"], "republish": { "src": ">", "dest": "x.>" } }),
            "subject",
        ),
        (
            json!({ "subjects": ["other.>"], "republish": { "src": "other.>", "dest": feed } }),
            "subject",
        ),
        (json!({ "republish": null }), "republish"),
        (json!({ "republish": { "src": ours, "dest": "elsewhere.>" } }), "republish"),
        (json!({ "republish": { "src": ours, "dest": feed, "headers_only": true } }), "republish"),
        (json!({ "retention": "interest" }), "retention"),
        (json!({ "retention": "workqueue" }), "retention"),
        (json!({ "discard": "new" }), "discard"),
        (json!({ "no_ack": true }), "no_ack"),
    ];
    for (change, name) in wrong {
        let before = made_by_operator(&stand, &change).await;
        let error = stand.open().await.unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }), "{change}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(LOG), "{change}: {text}");
        assert_eq!(stand.settings().await, before, "{change}: nothing is changed");
        stand.delete(LOG).await;
    }
    // And under a running node.
    let bus = stand.bus().await;
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    stand.set(json!({ "discard": "new" })).await;
    let mut health = bus.health();
    within("the node says why", async {
        loop {
            let now = health.get();
            if now.reason.is_some_and(|reason| reason.contains("discard")) {
                return;
            }
            assert!(health.changed().await.is_some());
        }
    })
    .await;
    let error = bus.publish(message("t", "no")).await.unwrap_err();
    assert!(error.to_string().contains("discard"), "{error}");
    stand.set(json!({ "discard": "old" })).await;
    assert!(up(&bus).await);
    assert_eq!(store(&bus, message("t", "2")).await, 2);
    bus.close().await.unwrap();
}

/// Each setting that only weakens a promise: said by name, once, and left as it is.
#[tokio::test]
async fn a_setting_that_differs_is_said_by_name_and_left_as_it_is() {
    for flavor in [NatsFlavor::Debian, NatsFlavor::Current] {
        let stand = Stand::start(flavor).await;
        let differs = [
            (json!({}), ""),
            (json!({ "max_msgs_per_subject": 10 }), "max_msgs_per_subject is 10"),
            (json!({ "max_age": 1_200_000_000_000_u64 }), "max_age is 1200s"),
            (json!({ "duplicate_window": 60_000_000_000_u64 }), "duplicate_window is 60s"),
            (json!({ "max_msgs": 1000 }), "max_msgs is 1000"),
            (json!({ "max_bytes": 1 << 20 }), "max_bytes is 1048576"),
            (json!({ "deny_delete": false }), "deny_delete"),
            (json!({ "deny_purge": false }), "deny_purge"),
            (json!({ "deny_purge": false, "allow_rollup_hdrs": true }), "allow_rollup_hdrs"),
            (json!({ "storage": "memory" }), "storage is `memory`"),
            (json!({ "max_msg_size": 4096 }), ""),
            (json!({ "max_consumers": 5 }), "max_consumers is 5"),
        ];
        for (change, name) in differs {
            let before = made_by_operator(&stand, &change).await;
            let said = Said::listen("tavern_nats");
            let bus =
                Bus::new(within("a node opens", NatsBackend::open(stand.config())).await.unwrap());
            let lines = said.take();
            let named = lines.iter().filter(|line| line.contains(name) && line.contains(LOG));
            let expected = usize::from(!name.is_empty());
            assert_eq!(named.count(), expected, "{change}: `{name}` in {lines:?}");
            assert_eq!(lines.is_empty(), name.is_empty(), "{change}: {lines:?}");
            assert_eq!(store(&bus, message("t", "1")).await, 1, "{change}");
            bus.head().await.unwrap();
            assert!(said.take().is_empty(), "said once");
            assert_eq!(stand.settings().await, before, "{change}: nothing is changed");
            bus.close().await.unwrap();
            stand.delete(LOG).await;
            stand.delete(META).await;
        }
    }
}

/// What somebody else publishes on the log's subjects takes a seq, says that it cannot be read, and
/// harms nobody.
async fn messages_of_strangers_are_undecodable_and_cost_nothing(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let nodes = [stage.node().await, stage.node().await];
    let broker = nodes[1].broker();
    let mut client = Client::fresh(&broker, &["t"]);
    let before = client.opened().await;
    assert_eq!(store(nodes[0].bus(), message("t", "1")).await, 1);
    assert_eq!(client.texts(1).await, ["1"]);
    let subject = stand.subject("t").await;
    let log = subject.strip_suffix("_.t").unwrap();
    let mut stranger = stand.server.connect().await.unwrap();
    let bodies = [&b""[..], b"hello", &[1; 17], &[1; 400], &[255; 100], b"{\"json\": true}"];
    let others = ["not-a-lane", "_.=ZZ", "_.=C3=28.x", "=FF.t", "_._._", "a.b.c.d.e"];
    let mut strange = 0;
    for body in bodies {
        stranger.store(&subject, &[], body).await.unwrap();
        strange += 1;
    }
    for other in others {
        stranger.store(&format!("{log}{other}"), &[("Nats-Msg-Id", other)], b"x").await.unwrap();
        strange += 1;
    }
    assert_eq!(client.gap().await.reason.as_str(), "format");
    let after = store(nodes[0].bus(), message("t", "2")).await;
    assert_eq!(after, strange + 2, "each has taken a seq");
    loop {
        // More of them may be told before what can be read.
        let next = client.next("the message behind them").await.unwrap();
        let text = format!("{next:?}");
        if text.starts_with("Message") {
            break assert!(text.contains("\"2\""), "{text}");
        }
        assert!(!text.starts_with("Gap") || text.contains("Format"), "{text}");
    }
    // Read, by a node that saw nothing of it, it is the same.
    let third = stage.node().await;
    let pages = third.read_all().await;
    let undecodable: usize = pages.iter().map(|page| page.undecodable.len()).sum();
    assert_eq!(u64::try_from(undecodable).unwrap(), strange);
    assert_eq!(third.texts().await, ["1", "2"]);
    let (replay, _) = Client::resume(&third.broker(), &["t"], before).replay().await;
    assert_eq!(replay.texts(), ["1", "2"]);
    assert!(replay.reasons().iter().all(|reason| reason.as_str() == "format"));
    assert!(!replay.gaps.is_empty());
    assert!(nodes.iter().all(|node| node.bus().health().get().connects == 1));
    stage.close().await;
}

/// What the log says of itself is deleted: another log begins where this one stands, with its rules,
/// and clients are told.
async fn metadata_that_are_deleted_begin_anew(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let first = stage.node_keeping(keeping(1000)).await;
    // Configured otherwise: it follows the log's rules.
    let node = stage.node_keeping(keeping(7)).await;
    stage.forget(&first);
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    let mut cursors = Vec::new();
    for n in 1..=3 {
        // Each start is noted: the log has said much of itself.
        stand.kill_and_start().await;
        cursors.push(publish(&broker, message("t", n.to_string())).await);
    }
    assert_eq!(client.texts(3).await, ["1", "2", "3"]);
    let before = node.head().await;
    first.bus().close().await.unwrap();
    assert!(stand.stream(META).await["state"]["last_seq"].as_u64().unwrap() > 3);
    stand.delete(META).await;
    let after = node.head().await;
    assert_ne!(after.position.epoch, before.position.epoch);
    assert_eq!(after.position.seq, 3, "what is there stays");
    assert!(after.retention.same_rules(&before.retention), "{:?}", after.retention);
    assert_eq!(client.gap().await.reason.as_str(), "epoch");
    for n in 4..=5 {
        let cursor = publish(&broker, message("t", n.to_string())).await;
        assert_eq!(cursor.0.epoch, after.position.epoch, "it is followed at once");
    }
    assert_eq!(client.texts(2).await, ["4", "5"]);
    let other = stage.node().await.broker();
    for cursor in cursors {
        let (replay, _) = Client::resume(&other, &["t"], cursor).replay().await;
        assert_eq!(reasons(&replay), ["epoch"], "{replay:?}");
    }
    stage.close().await;
}

async fn a_newer_schema_is_refused_at_open_and_makes_a_running_node_not_ready(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    assert_eq!(store(node.bus(), message("t", "1")).await, 1);
    let mut conn = stand.server.connect().await.unwrap();
    let body = json!({ "last_by_subj": "tavern.default.meta" });
    let found = stand.js(&format!("STREAM.MSG.GET.{META}"), body).await;
    let text = decoded(found["message"]["data"].as_str().unwrap());
    let newer = text.replace("\"schema\":1", "\"schema\":2");
    assert_ne!(text, newer);
    conn.store("tavern.default.meta", &[], newer.as_bytes()).await.unwrap();
    eventually("the node is not ready and says why", || {
        let readiness = broker.readiness();
        let said = |r: &String| r.contains("schema version 2") && r.contains("update this node");
        !readiness.ready && readiness.reasons.iter().any(said)
    })
    .await;
    let error = within("a publish", node.bus().publish(message("t", "no"))).await.unwrap_err();
    assert!(error.to_string().contains("schema version 2"), "{error}");
    let error = stand.open().await.unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    assert!(error.to_string().contains("schema version 2"), "{error}");
    assert_eq!(
        stand.stream(META).await["state"]["last_seq"],
        stand.stream(META).await["state"]["first_seq"]
    );
    let found = stand
        .js(&format!("STREAM.MSG.GET.{META}"), json!({ "last_by_subj": "tavern.default.meta" }))
        .await;
    assert_eq!(
        decoded(found["message"]["data"].as_str().unwrap()),
        newer,
        "what another release wrote stays"
    );
    conn.store("tavern.default.meta", &[], text.as_bytes()).await.unwrap();
    eventually("the node is ready", || broker.readiness().ready).await;
    assert_eq!(store(node.bus(), message("t", "2")).await, 2);
    stage.close().await;
}

fn decoded(base64: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn several_replicas_on_one_server_are_refused(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await.with(|config| config.replicas = 3);
    let error = stand.open().await.unwrap_err();
    assert!(error.to_string().contains("needs a cluster"), "{error}");
    // One that is there is used, and the difference is said.
    let bus = stand.with(|config| config.replicas = 1).bus().await;
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    let other = stand.bus().await;
    assert_eq!(store(&other, message("t", "2")).await, 2);
    other.close().await.unwrap();
    bus.close().await.unwrap();
}

/// Not enabled at all: said at open. Taken away from running nodes, by a restart: said, waited for,
/// and when it is back nothing was lost and no client notices.
async fn a_server_without_jetstream_says_so_and_is_waited_for(flavor: NatsFlavor) {
    let bare = Stand::start_with(NatsOptions::new(flavor).without_jetstream()).await;
    let error = bare.open().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("JetStream is not enabled on this server"), "{error}");

    let stand = Stand::start(flavor).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    assert_eq!(client.texts(1).await, ["1"]);
    let without = |text: String| text.replace("jetstream {", "#jetstream {");
    // The testkit waits for what does not come.
    let short = std::time::Duration::from_millis(300);
    stand.try_reconfigure(short, without).await.unwrap_err();
    eventually("the node says why", || {
        let health = node.bus().health().get();
        !health.up && health.reason.is_some_and(|r| r.contains("JetStream is not enabled"))
    })
    .await;
    let error = node.bus().publish(message("t", "no")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("JetStream is not enabled"), "{error}");
    let mut spooled = tokio::task::JoinSet::new();
    spooled.spawn(publish(&broker, message("t", "2")));
    stand.reconfigure(|text| text.replace("#jetstream {", "jetstream {")).await;
    assert!(up(node.bus()).await);
    within("the spool drains", spooled.join_all()).await;
    assert_eq!(client.texts(1).await, ["2"]);
    stage.close().await;
}

/// The server has JetStream, this account has not.
async fn an_account_without_jetstream_says_so(flavor: NatsFlavor) {
    let accounts = "accounts { with { jetstream: enabled, users: [{ user: w, password: w }] }, \
        without { users: [{ user: o, password: o }] } }\nno_auth_user: w";
    let auth = NatsAuth::Raw(accounts.to_owned(), Some(("w".to_owned(), "w".to_owned())));
    let stand = Stand::start_with(NatsOptions::new(flavor).with_auth(auth)).await;
    let of = |name: &'static str| {
        stand.with(move |config| {
            let (username, password) = (name.to_owned(), name.to_owned());
            config.credentials = Credentials::User { username, password };
        })
    };
    let error = of("o").open().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("not enabled for this account"), "{error}");
    let bus = of("w").bus().await;
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    // Taken away from it while a node runs.
    stand
        .try_reconfigure(std::time::Duration::from_millis(300), |text| {
            text.replace("jetstream: enabled, users: [{ user: w", "users: [{ user: w")
        })
        .await
        .unwrap_err();
    eventually("the node says why", || {
        let health = bus.health().get();
        !health.up && health.reason.is_some_and(|r| r.contains("not enabled for this account"))
    })
    .await;
    stand
        .reconfigure(|text| text.replace("with { users", "with { jetstream: enabled, users"))
        .await;
    assert!(up(&bus).await);
    assert_eq!(store(&bus, message("t", "2")).await, 2);
    bus.close().await.unwrap();
}

/// Our own stream refuses what nobody would notice.
#[tokio::test]
async fn our_own_stream_cannot_be_purged() {
    for flavor in [NatsFlavor::Debian, NatsFlavor::Current] {
        let stand = Stand::start(flavor).await;
        let bus = stand.bus().await;
        assert_eq!(store(&bus, message("t", "1")).await, 1);
        let subject = stand.subject("t").await;
        for body in [Value::Null, json!({ "filter": subject }), json!({ "seq": 1 })] {
            let refused = stand.server.js(&format!("STREAM.PURGE.{LOG}"), body).await;
            assert!(refused.unwrap_err().to_string().contains("purge"));
        }
        let refused =
            stand.server.js(&format!("STREAM.MSG.DELETE.{LOG}"), json!({ "seq": 1 })).await;
        assert!(refused.unwrap_err().to_string().contains("delete"));
        bus.close().await.unwrap();
    }
}
