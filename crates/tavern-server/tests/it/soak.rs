//! A short soak: hubs are killed with -9 while clients move between them; nobody misses anything.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tavern_testkit::soak::Soak;
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
        kill_every: Duration::from_millis(500),
        limit: Duration::from_secs(25),
        seed: 3,
    }
}

/// The publisher's process is this very test, started again with its orders in the environment.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_anything_while_hubs_are_killed() {
    if let Ok(orders) = std::env::var(PUBLISHER) {
        let mut orders = orders.split(' ').map(ToOwned::to_owned);
        let number = orders.next().unwrap().parse().unwrap();
        soak().publish(number, &orders.collect::<Vec<_>>()).await.unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let run = soak().run(Path::new(env!("CARGO_BIN_EXE_tavern")), dir.path(), |number, urls| {
        let name = concat!(module_path!(), "::nobody_misses_anything_while_hubs_are_killed");
        let name = name.split_once("::").map_or(name, |(_, name)| name);
        let mut publisher = Command::new(&this);
        publisher.args(["--exact", name]).env(PUBLISHER, format!("{number} {}", urls.join(" ")));
        publisher.stdout(Stdio::null()).kill_on_drop(true).spawn()
    });
    let outcome = run.await.unwrap();
    assert!(outcome.wrong.is_empty(), "{outcome:#?}");
    assert_eq!((outcome.complete, outcome.received), (30, outcome.expected), "{outcome:#?}");
    assert!(outcome.kills >= 2 && outcome.moves > 30, "{outcome:#?}");
}
