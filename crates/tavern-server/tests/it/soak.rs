//! Short soaks: hubs, or what they stand on, are killed while clients move; nobody misses anything.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tavern_testkit::engine::{
    NatsOptions, NatsServer, PostgresOptions, PostgresServer, RedisOptions, RedisServer,
};
use tavern_testkit::proxy::Proxy;
use tavern_testkit::soak::{Outcome, Soak, Trouble};
use tokio::process::Command;

/// Set in the processes that play the publishers: the number, then the urls of the hubs.
const PUBLISHER: &str = "TAVERN_SOAK_PUBLISHER";

fn soak() -> Soak {
    Soak {
        publishers: 2,
        messages: 1_000,
        topics: 20,
        clients: 30,
        pause: Duration::from_millis(80),
        every: Duration::from_millis(500),
        backend: None,
        limit: Duration::from_secs(25),
        seed: 3,
    }
}

/// Whether this process is a publisher: it is one of these very tests, started again with its
/// orders in the environment.
async fn publishes(soak: Soak) -> bool {
    let Ok(orders) = std::env::var(PUBLISHER) else { return false };
    let mut orders = orders.split(' ').map(ToOwned::to_owned);
    let number = orders.next().unwrap().parse().unwrap();
    soak.publish(number, &orders.collect::<Vec<_>>()).await.unwrap();
    true
}

async fn run(soak: Soak, test: &str, trouble: Trouble<'_>) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let start = |number: usize, urls: &[String]| {
        let mut publisher = Command::new(&this);
        publisher.args(["--exact", &name]).env(PUBLISHER, format!("{number} {}", urls.join(" ")));
        publisher.stdout(Stdio::null()).kill_on_drop(true).spawn()
    };
    let clients = soak.clients;
    let binary = Path::new(env!("CARGO_BIN_EXE_tavern"));
    let outcome = soak.run(binary, dir.path(), start, trouble).await.unwrap();
    assert!(outcome.wrong.is_empty(), "{outcome:#?}");
    assert_eq!((outcome.complete, outcome.received), (clients, outcome.expected), "{outcome:#?}");
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_anything_while_hubs_are_killed() {
    if publishes(soak()).await {
        return;
    }
    let name = "nobody_misses_anything_while_hubs_are_killed";
    let outcome = run(soak(), name, Trouble::Hubs).await;
    assert!(outcome.troubles >= 2 && outcome.moves > 30, "{outcome:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_anything_while_redis_is_killed_stopped_and_cut_off() {
    if publishes(soak()).await {
        return;
    }
    let server = RedisServer::start(RedisOptions::default().with_appendonly()).await.unwrap();
    let soak = Soak { backend: Some(server.url()), ..soak() };
    let name = "nobody_misses_anything_while_redis_is_killed_stopped_and_cut_off";
    let trouble = Trouble::Redis(&server, Duration::from_secs(1));
    let outcome = run(soak, name, trouble).await;
    assert!(outcome.troubles >= 4, "each trouble at least once: {outcome:#?}");
    assert_eq!(outcome.ended, 0, "no stream is closed because of the backend: {outcome:#?}");
}

/// Longer: a server of NATS that sends its clients away takes seconds to end.
fn long_soak() -> Soak {
    let (pause, every) = (Duration::from_millis(160), Duration::from_millis(1200));
    Soak { messages: 2_000, pause, every, ..soak() }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_anything_while_nats_is_killed_stopped_and_cut_off() {
    if publishes(long_soak()).await {
        return;
    }
    let options = NatsOptions::default().with_lame_duck_grace(Duration::from_millis(500));
    let server = NatsServer::start(options).await.unwrap();
    let wire = Proxy::to(server.port()).await.unwrap();
    let backend = Some(format!("nats://127.0.0.1:{}", wire.port()));
    let name = "nobody_misses_anything_while_nats_is_killed_stopped_and_cut_off";
    let trouble = Trouble::Nats(&server, &wire, Duration::from_secs(1));
    let outcome = run(Soak { backend, ..long_soak() }, name, trouble).await;
    assert!(outcome.troubles >= 5, "each trouble at least once: {outcome:#?}");
    assert_eq!(outcome.ended, 0, "no stream is closed because of the backend: {outcome:#?}");
    assert_eq!(outcome.gaps, 0, "what the server has on its disk is not missed: {outcome:#?}");
    assert!(wire.carried() >= 5 * 2 * 3, "two hubs come back after each: {wire:?}");
}

/// In between: a server of Postgres that was killed recovers first.
fn mid_soak() -> Soak {
    let (pause, every) = (Duration::from_millis(160), Duration::from_millis(900));
    Soak { messages: 1_000, pause, every, ..soak() }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_anything_while_postgres_is_killed_stopped_and_cut_off() {
    if publishes(mid_soak()).await {
        return;
    }
    let server = PostgresServer::start(PostgresOptions::new().without_fsync()).await.unwrap();
    let wire = Proxy::to(server.port()).await.unwrap();
    let backend = Some(format!("postgres://postgres@127.0.0.1:{}/postgres", wire.port()));
    let name = "nobody_misses_anything_while_postgres_is_killed_stopped_and_cut_off";
    let trouble = Trouble::Postgres(&server, &wire, Duration::from_secs(1));
    let outcome = run(Soak { backend, ..mid_soak() }, name, trouble).await;
    assert!(outcome.troubles >= 5, "each trouble at least once: {outcome:#?}");
    assert_eq!(outcome.ended, 0, "no stream is closed because of the backend: {outcome:#?}");
    assert_eq!(outcome.gaps, 0, "what the server has committed is not missed: {outcome:#?}");
    assert!(wire.carried() >= 4 * 2 * 4, "two hubs come back after each: {wire:?}");
}
