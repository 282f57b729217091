//! A server whose test is killed.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use tavern_testkit::engine::{PgBouncer, PgBouncerOptions, PostgresOptions, PostgresServer};
use tavern_testkit::wait::{eventually, with_patience, within};
use tokio::runtime::Builder;

/// Tells the test that it is the one that is killed, and where to say what it has.
const VICTIM: &str = "TAVERN_TESTKIT_VICTIM";

#[test]
fn servers_end_with_the_test_that_is_killed() {
    check("servers_end_with_the_test_that_is_killed", false);
}

#[test]
fn paused_servers_end_with_the_test_that_is_killed() {
    check("paused_servers_end_with_the_test_that_is_killed", true);
}

fn check(name: &str, paused: bool) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(file) = env::var_os(VICTIM) {
        let (_server, _bouncer, said) = runtime.block_on(be_killed(paused));
        fs::write(file, said).unwrap();
        loop {
            std::thread::park();
        }
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("said");
    let mut victim = Command::new(env::current_exe().unwrap());
    let name = format!("engine::postgres::orphan::{name}");
    victim.args(["--exact", &name]).env(VICTIM, &file);
    let mut victim = victim.spawn().unwrap();
    // What stands still when it should end is killed after five seconds.
    runtime.block_on(with_patience(Duration::from_secs(25), async {
        let said = || fs::read_to_string(&file).unwrap_or_default();
        eventually("the victim to have servers", || said().ends_with('\n')).await;
        victim.kill().unwrap();
        victim.wait().unwrap();
        let text = said();
        let lines: Vec<&str> = text.lines().collect();
        let (bouncer, dirs, processes) = (lines[0], &lines[1..3], &lines[3..]);
        assert!(processes.len() > 4, "{processes:?}");
        let process = |id: &&str| Pid::from_raw(id.parse().unwrap()).unwrap();
        let is_alive = |id: &&str| test_kill_process(process(id)).is_ok();
        eventually("Postgres to end", || !processes.iter().any(is_alive)).await;
        let connect = || std::net::TcpStream::connect(bouncer);
        eventually("PgBouncer to end", || connect().is_err()).await;
        // Nobody else does.
        for dir in dirs {
            fs::remove_dir_all(dir).unwrap();
        }
    }));
}

/// Starts servers, one of them with a busy client, and says which, and Postgres's processes.
async fn be_killed(paused: bool) -> (PostgresServer, PgBouncer, String) {
    let server = PostgresServer::start(PostgresOptions::new().without_fsync()).await.unwrap();
    let bouncer = PgBouncer::start(&server, PgBouncerOptions::new()).await.unwrap();
    // A client that is gone when the test is, and whose server has no time to see it.
    let (url, mut text) = (server.url("postgres", "postgres"), String::new());
    let busy = server.psql_at(&url, "SELECT count(*) FROM generate_series(1, 1e12::bigint)");
    let look = async {
        let all = "SELECT pid FROM pg_stat_activity WHERE query NOT LIKE '%activity%';
                   SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%1e12%'";
        while !text.ends_with("\n2") {
            text = server.psql(all).await.unwrap();
        }
        if paused {
            server.pause().await.unwrap();
            bouncer.pause().unwrap();
        }
    };
    tokio::select! {
        result = busy => panic!("{result:?}"),
        () = within("a busy server", look) => {}
    }
    let pids = text.trim_end_matches('2');
    let [here, there] = [server.dir(), bouncer.dir()].map(|dir| dir.display().to_string());
    let said = format!("127.0.0.1:{}\n{here}\n{there}\n{pids}", bouncer.port());
    (server, bouncer, said)
}
