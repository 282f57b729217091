//! A disk that is full: a small file system of the test's own, among mounts that nobody else sees.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tavern_backend::Error;
use tavern_testkit::engine::PostgresOptions;
use tavern_testkit::say::message;
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, publish, publish_all};

use crate::stand::{Stand, texts, until};

/// Set in the process that has mounts of its own.
const ALONE: &str = "TAVERN_TEST_ALONE";

/// In the process that was started for it: true. Else starts that process, with the calling test
/// of the full name `test`, waits for its success, and returns false.
fn alone(test: &str) -> bool {
    if std::env::var(ALONE).is_ok_and(|alone| alone == test) {
        return true;
    }
    let mut command = own_mounts();
    command.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]);
    let output = command.env(ALONE, test).env("RUST_BACKTRACE", "0").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{errors}");
    false
}

/// As root; or as who is nobody else, but may mount among mounts of its own.
fn own_mounts() -> Command {
    let probe = tempfile::tempdir().unwrap();
    for how in [&["--mount"][..], &["--map-current-user", "--keep-caps", "--mount"]] {
        let unshare = || {
            let mut command = Command::new("unshare");
            command.args(how);
            command
        };
        let tried = unshare().args(["mount", "-t", "tmpfs", "tavern"]).arg(probe.path()).output();
        if tried.is_ok_and(|output| output.status.success()) {
            return unshare();
        }
    }
    panic!(
        "this test fills a small file system of its own, and may not mount one: install util-linux \
         (`unshare` of 2.38 or newer, `mount`), and run it as root or allow unprivileged user \
         namespaces (sysctl kernel.unprivileged_userns_clone=1, \
         kernel.apparmor_restrict_unprivileged_userns=0; a container needs --cap-add SYS_ADMIN)"
    );
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// A server's small disk.
struct Disk(PathBuf);

impl Disk {
    /// Moves a directory of the server's to a disk of this size.
    async fn under(stand: &Stand, directory: &str, size: &str) -> Self {
        stand.server.terminate().await.unwrap();
        let (disk, place) = (stand.server.dir().join("disk"), stand.server.dir().join(directory));
        fs::create_dir(&disk).unwrap();
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let options = format!("size={size},mode=0755");
        run("mount", &["-t", "tmpfs", "-o", &options, "tavern", &path(&disk)]);
        run("mv", &[&path(&place), &path(&disk)]);
        symlink(disk.join(place.file_name().unwrap()), &place).unwrap();
        let disk = Self(disk);
        stand.server.start_again().await.unwrap();
        disk
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let filler = self.0.join("filler");
        let mut file = fs::OpenOptions::new().append(true).create(true).open(filler).unwrap();
        for size in [1 << 20, 4096] {
            let block = vec![7; size];
            while file.write_all(&block).is_ok() {}
        }
        let left = file.write_all(&[7; 4096]).unwrap_err();
        assert_eq!(left.kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server still uses it. What stays goes with the process.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

async fn connections(stand: &Stand) -> String {
    let pids = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity
        WHERE application_name LIKE 'tavern-%'";
    stand.psql(pids).await
}

/// The tables cannot grow: the node says so, reads on, keeps its connections and what is published,
/// and goes on by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_costs_nothing() {
    if !alone("disk::a_full_disk_is_said_and_costs_nothing") {
        return;
    }
    let stand = Stand::start().await;
    let disk = Disk::under(&stand, "data/base", "48m").await;
    let stage = stand.stage();
    let (node, other) = (stage.node().await, stage.node().await);
    let (broker, theirs) = (node.broker(), other.broker());
    let mut client = Client::fresh(&theirs, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "0")).await;
    assert_eq!(client.texts(1).await, ["0"]);
    let before = connections(&stand).await;
    let health = node.bus().health();
    let large = "x".repeat(60_000);
    for round in 0..2 {
        let error = within("the disk is full, and said to be", async {
            loop {
                // The server itself may have made a little room since.
                disk.fill();
                let error = node.bus().publish(message("other", large.as_str())).await.err();
                let reason = health.get().reason.filter(|_| !health.get().up);
                if let (Some(error), Some(reason)) = (error, reason) {
                    assert!(reason.contains("disk is full; make room"), "{reason}");
                    return error;
                }
            }
        })
        .await;
        assert!(matches!(error, Error::Unavailable { .. }), "it is not stored: {error:?}");
        assert!(error.to_string().contains("disk is full; make room"), "{error}");
        eventually("the node is not ready", || {
            broker.readiness().reasons.iter().any(|reason| reason.contains("disk is full"))
        })
        .await;
        assert_eq!(texts(node.bus()).await[0], "0", "it reads on");
        if round == 1 {
            break;
        }
        disk.make_room();
        // Nobody publishes: it finds out by itself.
        eventually("there is room", || health.get().up).await;
        assert!(broker.readiness().ready);
    }
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..2 {
        let many = (0..50).map(|m| message("t", format!("{n}:{m}:{large}"))).collect();
        let broker = [&broker, &theirs][n].clone();
        waiting.spawn(async move { publish_all(&broker, many).await });
    }
    for broker in [&broker, &theirs] {
        eventually("it is spooled", || broker.status().counters.spool_entries > 0).await;
    }
    assert!(waiting.try_join_next().is_none(), "nothing is stored");
    disk.make_room();
    within("the spools drain", waiting.join_all()).await;
    let got = client.texts(100).await;
    for n in 0..2 {
        let mine = format!("{n}:");
        let theirs = got.iter().filter_map(|text| text.strip_prefix(&mine));
        let theirs: Vec<_> = theirs.map(|text| text.split(':').next().unwrap()).collect();
        assert_eq!(theirs, (0..50).map(|m| m.to_string()).collect::<Vec<_>>(), "once, in order");
    }
    publish(&broker, message("t", "last")).await;
    assert_eq!(client.texts(1).await, ["last"]);
    assert!(health.get().up);
    assert_eq!(connections(&stand).await, before, "no connection was lost");
    stage.close().await;
}

/// There is no room for the WAL, which the server does not survive. Somebody makes room and starts
/// it: nothing that was acknowledged is lost, nothing comes twice, and no client was dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_for_want_of_room_is_waited_for() {
    if !alone("disk::a_server_that_ends_for_want_of_room_is_waited_for") {
        return;
    }
    let options = PostgresOptions::new()
        .with_setting("min_wal_size", "32MB")
        .with_setting("max_wal_size", "32MB");
    let stand = Stand::start_with(options).await;
    let disk = Disk::under(&stand, "data/pg_wal", "64m").await;
    let stage = stand.stage();
    let (node, other) = (stage.node().await, stage.node().await);
    let (broker, theirs) = (node.broker(), other.broker());
    let mut client = Client::fresh(&theirs, &["t"]);
    client.opened().await;
    let large = "x".repeat(60_000);
    disk.fill();
    let error = within("there is no room", async {
        loop {
            if let Err(error) = node.bus().publish(message("other", large.as_str())).await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "it died in the middle: {error:?}");
    let mut publishing = tokio::task::JoinSet::new();
    let many = (0..500).map(|m| message("t", format!("{m}:{large}"))).collect();
    let publisher = broker.clone();
    publishing.spawn(async move { publish_all(&publisher, many).await });
    until("the server has ended", || async { !stand.server.is_running() }).await;
    let health = node.bus().health();
    eventually("it is noticed", || !health.get().up).await;
    assert!(publishing.try_join_next().is_none(), "not all is stored");
    disk.make_room();
    within("it starts again", stand.server.start_again()).await.unwrap();
    within("the spool drains", publishing.join_all()).await;
    let got = client.texts(500).await;
    let got: Vec<_> = got.iter().map(|text| text.split(':').next().unwrap()).collect();
    assert_eq!(got, (0..500).map(|m| m.to_string()).collect::<Vec<_>>(), "once, in order");
    stage.close().await;
}
