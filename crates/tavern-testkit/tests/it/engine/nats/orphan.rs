//! A server whose test is killed.

use std::env;
use std::process::Command;

use tavern_testkit::engine::{NatsOptions, NatsServer};
use tavern_testkit::wait::eventually;
use tokio::runtime::Builder;

/// Tells the test that it is the one that is killed, and where to say what it has.
const VICTIM: &str = "TAVERN_TESTKIT_VICTIM";

#[test]
fn a_server_ends_with_the_test_that_is_killed() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(file) = env::var_os(VICTIM) {
        // On a thread that ends, which is not the end of the test.
        let start = move || runtime().block_on(NatsServer::start(NatsOptions::default())).unwrap();
        let server = std::thread::spawn(start).join().unwrap();
        runtime().block_on(async { server.connect().await.unwrap().flush().await.unwrap() });
        let said = format!("{}\n{}\n", server.addr(), server.dir().display());
        std::fs::write(file, said).unwrap();
        loop {
            std::thread::park();
        }
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("said");
    let name = "engine::nats::orphan::a_server_ends_with_the_test_that_is_killed";
    let mut victim = Command::new(env::current_exe().unwrap());
    let mut victim = victim.args(["--exact", name]).env(VICTIM, &file).spawn().unwrap();
    runtime().block_on(async {
        let said = || std::fs::read_to_string(&file).unwrap_or_default();
        eventually("the victim to have a server", || said().lines().count() == 2).await;
        let (said, connect) = (said(), std::net::TcpStream::connect::<&str>);
        let (addr, dir) = said.trim_end().split_once('\n').unwrap();
        connect(addr).unwrap();
        victim.kill().unwrap();
        victim.wait().unwrap();
        eventually("the server to end", || connect(addr).is_err()).await;
        // Nobody else does.
        std::fs::remove_dir_all(dir).unwrap();
    });
}
