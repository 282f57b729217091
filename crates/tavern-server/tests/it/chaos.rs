//! Chaos, in short: everything that can happen to hubs on each engine happens, and nobody loses
//! anything without being told. They mostly wait, and run side by side.

use std::path::Path;
use std::time::Duration;

use tavern_testkit::chaos::{Chaos, Engine};

/// Long enough for each kind of fault once.
const TIME: Duration = Duration::from_secs(100);

async fn chaos(engine: Engine, seed: u64) {
    let mut chaos = Chaos::new(engine, TIME, seed);
    (chaos.hubs, chaos.clients, chaos.publishers, chaos.rate) = (2, 48, 2, 40);
    let dir = tempfile::tempdir().unwrap();
    let report = chaos.run(Path::new(env!("CARGO_BIN_EXE_tavern")), dir.path()).await.unwrap();
    assert!(report.is_clean(), "{report}\nplan:\n{}", chaos.plan());
    assert!(report.verdict.received > 1_000, "there was something to lose:\n{report}");
    let kinds = report.faults.len();
    assert_eq!(kinds, engine.faults().len(), "each kind of fault at least once:\n{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_nothing_is_lost_without_a_word() {
    chaos(Engine::Sqlite, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redis_nothing_is_lost_without_a_word() {
    chaos(Engine::Redis, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_nats_nothing_is_lost_without_a_word() {
    chaos(Engine::Nats, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_nothing_is_lost_without_a_word() {
    chaos(Engine::Postgres, 1).await;
}
