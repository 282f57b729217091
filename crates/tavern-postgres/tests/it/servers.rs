//! One address that leads to several servers, or to one that was another before.

use std::time::Duration;
use tavern_backend::Backend as _;
use tavern_backend::{Error, FeedEvent};
use tavern_postgres::{PostgresBackend, PostgresConfig};
use tavern_testkit::Client;
use tavern_testkit::engine::{PgBouncer, PgBouncerOptions, PostgresOptions, PostgresPair};
use tavern_testkit::say::{filter, message};
use tavern_testkit::wait::{eventually, within};

use crate::kit::quick;
use crate::relay::Relay;
use crate::stand::{Stand, sql, store};

/// As in a switchover while a node connects: one of its connections leads to the replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_with_one_connection_to_a_replica_is_none() {
    let starting = PostgresPair::start(PostgresOptions::new().without_fsync());
    let pair = within("a pair starts", starting).await.unwrap();
    let (primary, replica) = (pair.primary().port(), pair.other().port());
    // What the log is, the replica has, too.
    let first = PostgresConfig::new(pair.primary().url("postgres", "postgres"));
    PostgresBackend::open(quick(first)).await.unwrap().close().await.unwrap();
    pair.other().wait_synced(pair.primary()).await.unwrap();
    let app = sql(&pair.other().url("postgres", "postgres")).await;
    let nulls = |n| vec!["NULL"; n].join(", ");
    for call in [format!("append({})", nulls(19)), format!("follow({})", nulls(5))] {
        let said = app.refused(&format!("SELECT tavern.{call}")).await;
        assert_eq!(said, "tavern: the server is a replica");
    }
    for astray in 0..4 {
        let relay =
            Relay::start(move |number| if number == astray { replica } else { primary }).await;
        let config = || quick(PostgresConfig::new(relay.url()));
        let error = within("an answer", PostgresBackend::open(config())).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{astray}: {error:?}");
        let said = error.to_string();
        assert!(said.contains("replica") || said.contains("recovery"), "{astray}: {said}");
        let bus = tavern_backend::Bus::new(PostgresBackend::open(config()).await.unwrap());
        store(&bus, message("t", "1")).await;
        bus.close().await.unwrap();
    }
}

/// Two primaries: an old one that does not know yet that it is none, or a clone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_with_one_connection_to_another_primary_is_none() {
    let starting = PostgresPair::start(PostgresOptions::new().without_fsync());
    let pair = within("a pair starts", starting).await.unwrap();
    let first = PostgresConfig::new(pair.primary().url("postgres", "postgres"));
    PostgresBackend::open(quick(first)).await.unwrap().close().await.unwrap();
    pair.other().wait_synced(pair.primary()).await.unwrap();
    let (old, new) = (pair.primary().port(), pair.other().port());
    pair.promote().await.unwrap();
    for astray in 0..3 {
        let relay = Relay::start(move |number| if number == astray { old } else { new }).await;
        let mut config = quick(PostgresConfig::new(relay.url()));
        // It has its own check.
        config.listen_url = Some(pair.primary().url("postgres", "postgres"));
        let error = within("an answer", PostgresBackend::open(config)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{astray}: {error:?}");
    }
}

/// A crash empties what live messages go through, and their numbers begin again; no connection to the
/// pooler is cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_messages_are_heard_after_a_crash_behind_a_pooler() {
    let stand = Stand::start().await;
    let bouncer = PgBouncer::start(&stand.server, PgBouncerOptions::new()).await.unwrap();
    let pooled = stand
        .at(bouncer.url("postgres", "postgres"))
        .with(|config| config.timeout = Duration::from_secs(30));
    let stage = pooled.stage();
    let (one, two) = (stage.node().await, stage.node().await);
    let broker = two.broker();
    let mut client = Client::fresh(&broker, &["live/a"]);
    client.opened().await;
    let say =
        async |text: &str| within("a publish", one.bus().publish(message("live/a", text))).await;
    for n in 0..5 {
        say(&n.to_string()).await.unwrap();
    }
    assert_eq!(client.texts(5).await, ["0", "1", "2", "3", "4"]);
    bouncer.console("PAUSE").await.unwrap();
    stand.server.kill().await.unwrap();
    stand.server.start_again().await.unwrap();
    bouncer.console("RESUME").await.unwrap();
    for node in [&one, &two] {
        let health = node.bus().health();
        eventually("the link is another one", || {
            let now = health.get();
            now.up && now.connects > 1
        })
        .await;
    }
    say("5").await.unwrap();
    assert_eq!(client.texts(1).await, ["5"]);
    stage.close().await;
}

/// As after a restored backup of another log: nothing is replayed into the feed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_another_past_is_followed_from_its_head() {
    let stand = Stand::start().await;
    let node = stand.open().await.unwrap();
    let mut feed = node.feed().unwrap();
    node.subscribe(&[filter("**")]).await.unwrap();
    let other = stand.bus().await;
    for n in 1..=5 {
        store(&other, message("t", n.to_string())).await;
    }
    let mut seen = 0;
    while seen < 5 {
        let batch = within("what was published", feed.recv()).await.unwrap();
        seen += batch.iter().filter(|event| matches!(event, FeedEvent::Entry(_))).count();
    }
    let epoch = tavern_backend::Epoch::random().unwrap();
    stand.psql(&format!("UPDATE tavern.namespace SET epoch = '{epoch}', forks = ''")).await;
    let mut again = Vec::new();
    let head = 'told: loop {
        let batch = within("the notice", feed.recv()).await.unwrap();
        for event in batch {
            match event {
                FeedEvent::Entry(entry) => again.push(entry.position.seq),
                FeedEvent::LinkRestored { head } => break 'told head,
                _ => {}
            }
        }
    };
    assert_eq!(again, [0_u64; 0], "nothing comes again");
    assert_eq!((head.epoch, head.seq), (epoch, 5));
    other.close().await.unwrap();
    node.close().await.unwrap();
}
