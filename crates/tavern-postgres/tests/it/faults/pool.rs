//! No connection is left; and how many a node takes.

use std::time::Duration;

use tavern_backend::{Error, ReadQuery, Tasks};
use tavern_testkit::engine::PostgresOptions;
use tavern_testkit::say::message;
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, publish};

use crate::stand::{Stand, keeping, store, until};

/// A server with ten connections, of which one is the superuser's.
async fn crowded() -> Stand {
    let options = PostgresOptions::new()
        .with_setting("max_connections", "10")
        .with_setting("superuser_reserved_connections", "1")
        .with_setting("max_wal_senders", "0");
    let stand = Stand::start_with(options).await;
    stand.psql("CREATE ROLE node LOGIN; GRANT CREATE ON DATABASE postgres TO node").await;
    stand.at(stand.server.url("node", "postgres"))
}

/// Takes all connections that are left, as applications do.
async fn take_all(stand: &Stand, others: &mut Vec<(tokio_postgres::Client, Tasks)>) {
    let url = stand.server.url("node", "postgres") + "?application_name=other";
    while let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await
    {
        let tasks = Tasks::new();
        tasks.spawn(async move { drop(connection.await) });
        others.push((client, tasks));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_left_is_said_and_waited_for() {
    let stand = crowded().await;
    let bus = stand.bus().await;
    let mut others = Vec::new();
    take_all(&stand, &mut others).await;
    assert!(others.len() >= 4, "{}", others.len());
    let error = stand.open().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("max_connections"), "{error}");
    // Who has its own goes on.
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    drop(others);
    until("there is room", || async {
        match stand.open().await {
            Ok(node) => {
                let other = tavern_backend::Bus::new(node);
                assert_eq!(store(&other, message("t", "2")).await, 2);
                other.close().await.unwrap();
                true
            }
            Err(_) => false,
        }
    })
    .await;
    bus.close().await.unwrap();
}

/// Others are faster when its connections are cut: it says why it is away, keeps what is published
/// and its clients, and goes on when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_connections_others_took_says_so_and_comes_back() {
    let stand = crowded().await;
    let stage = stand.stage();
    let node = stage.node_keeping(keeping(100)).await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    let (health, mut others) = (node.bus().health(), Vec::new());
    let said = |reason: &str| reason.contains("max_connections");
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name LIKE 'tavern-%'";
    within("the others have all of them", async {
        while others.len() < 9 || !health.get().reason.as_deref().is_some_and(said) {
            stand.psql(cut).await;
            take_all(&stand, &mut others).await;
        }
    })
    .await;
    let connects = health.get().connects;
    let mut spooled = tokio::task::JoinSet::new();
    spooled.spawn(publish(&broker, message("t", "2")));
    eventually("it is spooled", || broker.status().counters.spool_entries > 0).await;
    let ready = broker.readiness();
    assert!(!ready.ready && said(&ready.reasons[0]), "{ready:?}");
    // Some make room: fewer than a node needs.
    others.truncate(6);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(health.get().connects, connects, "three are not enough, many times");
    others.truncate(5);
    within("the spool drains", spooled.join_all()).await;
    assert_eq!(client.texts(2).await, ["1", "2"]);
    stage.close().await;
}

/// Five connections, however much is asked of it at once: its role may have no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_takes_five_connections_whatever_is_asked_of_it() {
    let stand = Stand::start().await;
    stand.psql("CREATE ROLE node LOGIN CONNECTION LIMIT 5").await;
    stand.psql("GRANT CREATE ON DATABASE postgres TO node").await;
    let stand = stand.at(stand.server.url("node", "postgres"));
    let bus = stand.bus().await;
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..300 {
        let bus = bus.clone();
        asking.spawn(async move {
            store(&bus, message(&format!("t/{}", n % 7), n.to_string())).await;
            bus.head().await.unwrap();
            bus.read(ReadQuery::range(0, u64::MAX)).await.unwrap();
            drop(bus.subscribe(format!("t/{n}").as_str()).await.unwrap());
        });
    }
    let held = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'node'";
    until("it sweeps", || async { stand.psql(held).await == "5" }).await;
    while let Some(asked) = within("all are answered", asking.join_next()).await {
        asked.unwrap();
        if asking.len() % 50 == 0 {
            assert_eq!(stand.psql(held).await, "5");
        }
    }
    assert_eq!(bus.health().get().connects, 1);
    // There is no sixth.
    let error = stand.open().await.unwrap_err().to_string();
    assert!(error.contains("takes no more connections"), "{error}");
    bus.close().await.unwrap();
}
