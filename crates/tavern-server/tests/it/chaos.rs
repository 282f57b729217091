//! Chaos, in short: everything that can happen to hubs on each engine happens, and nobody loses
//! anything without being told.

use std::path::Path;
use std::time::Duration;

use tavern_testkit::chaos::{Chaos, Engine};
use tokio::task::JoinSet;

/// Long enough for each kind of fault once.
const TIME: Duration = Duration::from_secs(110);

/// All engines in one test, side by side: they mostly wait.
#[tokio::test(flavor = "multi_thread")]
async fn on_no_engine_is_anything_lost_without_a_word() {
    let mut engines = JoinSet::new();
    for engine in Engine::ALL {
        engines.spawn(chaos(engine, 1));
    }
    let wrong = engines.join_all().await.concat();
    assert!(wrong.is_empty(), "{wrong}");
}

/// What is wrong with this one.
async fn chaos(engine: Engine, seed: u64) -> String {
    let mut chaos = Chaos::new(engine, TIME, seed);
    (chaos.hubs, chaos.clients, chaos.publishers, chaos.rate) = (2, 48, 2, 40);
    let dir = tempfile::tempdir().unwrap();
    let report = chaos.run(Path::new(env!("CARGO_BIN_EXE_tavern")), dir.path()).await.unwrap();
    let all = report.faults.len() == engine.faults().len() && report.verdict.received > 1_000;
    if report.is_clean() && all {
        return String::new();
    }
    let incomplete = if all { "" } else { "not everything happened\n" };
    format!("{report}{incomplete}{}\n", chaos.plan())
}
