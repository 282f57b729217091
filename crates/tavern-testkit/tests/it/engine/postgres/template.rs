//! The data directory that all servers begin with.

use std::env;
use std::process::{Child, Command};

use tavern_testkit::engine::{PostgresOptions, PostgresServer};

/// Tells the test that it is one of several that start at once.
const ONE: &str = "TAVERN_TESTKIT_ONE_OF_MANY";

#[test]
fn tests_that_start_at_once_share_one() {
    if env::var_os(ONE).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let server = PostgresServer::start(PostgresOptions::new()).await.unwrap();
            assert_eq!(server.psql("SELECT 1").await.unwrap(), "1");
        });
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let name = "engine::postgres::template::tests_that_start_at_once_share_one";
    let start = |_| {
        let mut test = Command::new(env::current_exe().unwrap());
        let test = test.args(["--exact", name]).env(ONE, "1").env("XDG_CACHE_HOME", cache.path());
        test.spawn().unwrap()
    };
    let mut tests: Vec<Child> = (0..4).map(start).collect();
    for test in &mut tests {
        assert!(test.wait().unwrap().success());
    }
    let entries = std::fs::read_dir(cache.path().join("tavern")).unwrap();
    let names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 2, "one, and its lock: {names:?}");
}
