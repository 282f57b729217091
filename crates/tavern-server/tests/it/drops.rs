//! Two-second drops in small: clients that are cut off and come back to the other hub have all of it.

use std::path::Path;
use std::time::Duration;

use tavern_testkit::Hub;
use tavern_testkit::drops::{Drops, Outcome, Site};
use tavern_testkit::engine::{RedisOptions, RedisServer};

async fn drops(backend: &str) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tavern.toml"), format!("backend = {backend:?}\n")).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_tavern"));
    let hubs = [
        Hub::start(binary, dir.path()).await.unwrap(),
        Hub::start(binary, dir.path()).await.unwrap(),
    ];
    let drops = Drops {
        clients: 100,
        topics: 10,
        publishers: 2,
        every: Duration::from_millis(100),
        length: Duration::from_secs(8),
        cuts: 2,
        patience: Duration::from_secs(10),
        ..Drops::default()
    };
    drops.run(&Site::tavern(hubs.iter().map(Hub::url).collect())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_anything_over_two_second_drops() {
    let server = RedisServer::start(RedisOptions::default()).await.unwrap();
    let redis = server.url();
    let (sqlite, redis) = tokio::join!(drops("sqlite:tavern.db"), drops(&redis));
    for (backend, outcome) in [("sqlite", sqlite), ("redis", redis)] {
        assert!(outcome.is_whole(), "{backend}: {outcome:?}");
        assert_eq!((outcome.complete, outcome.cuts), (100, 200), "{backend}: {outcome:?}");
        // With fewer, most would miss nothing meanwhile.
        assert!(outcome.published >= 50, "{backend}: {outcome:?}");
    }
}
