//! The server's clock jumps.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tavern_backend::{Keep, Published, Retention};
use tavern_testkit::engine::PostgresOptions;
use tavern_testkit::say::{Also as _, filter, message};
use tavern_testkit::wait::{eventually, within};
use tavern_testkit::{Client, publish};

use crate::stand::{Stand, until};

/// What tells a server another time than the machine's.
struct Clock {
    dir: tempfile::TempDir,
}

impl Clock {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The server is another user's, if this is root's.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let clock = Self { dir };
        clock.write(0);
        clock
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("now")
    }

    fn write(&self, seconds: i32) {
        let new = self.dir.path().join("new");
        fs::write(&new, format!("{seconds:+}\n")).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn options(&self) -> PostgresOptions {
        PostgresOptions::new()
            .with_environment("LD_PRELOAD", library().display().to_string())
            .with_environment("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string())
            .with_environment("FAKETIME_NO_CACHE", "1")
            .with_environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .with_environment("FAKETIME_DISABLE_SHM", "1")
            .with_setting("log_statement", "all")
    }

    /// From now on the server's clock is so many seconds ahead of the machine's.
    async fn jump(&self, stand: &Stand, seconds: i32) {
        self.write(seconds);
        let machine = "SELECT extract(epoch FROM clock_timestamp())::int8";
        until("the server has another time", || async {
            let server: i64 = stand.psql(machine).await.parse().unwrap();
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
            (server - i64::try_from(now).unwrap() - i64::from(seconds)).abs() < 30
        })
        .await;
    }
}

fn library() -> PathBuf {
    let places = fs::read_dir("/usr/lib").unwrap().chain(fs::read_dir("/usr/local/lib").unwrap());
    let mut places: Vec<_> = places.map(|entry| entry.unwrap().path()).collect();
    places.extend(["/usr/lib".into(), "/usr/lib64".into(), "/usr/local/lib".into()]);
    let files = places.iter().map(|place| place.join("faketime").join("libfaketime.so.1"));
    files.into_iter().find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("this test lets a server's clock jump: install the Debian package libfaketime")
    })
}

/// Waits until the nodes have swept some more times, by the server's log: its statistics wait for
/// their clock.
async fn swept(stand: &Stand) {
    let log = stand.server.dir().join("server.log");
    let calls = || fs::read_to_string(&log).unwrap().matches("tavern.sweep(").count();
    let before = calls();
    eventually("it is swept", || calls() > before + 3).await;
}

const HOUR: i32 = 3600;

/// Forwards, everything is an hour older, and so are ages and TTLs; backwards, nothing becomes
/// older until the clock is where it was. Seqs go on, nothing comes twice, and nobody is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_moves_ages_and_nothing_else() {
    let clock = Clock::new();
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
    let rules = Retention::default()
        .with_default(Keep::new(10_000, day))
        .with_rule(filter("aging/**"), Keep::new(10_000, hour / 2));
    let stand = Stand::start_with(clock.options()).await;
    let stage = stand.stage();
    let nodes = [stage.node_keeping(rules.clone()).await, stage.node_keeping(rules).await];
    let brokers = [nodes[0].broker(), nodes[1].broker()];
    let mut client = Client::fresh(&brokers[1], &["t", "aging/t"]);
    let before = client.opened().await;
    let app = stand.sql().await;
    let mut wanted = Vec::new();
    for (jump, name) in [(0, "now"), (HOUR, "ahead"), (-HOUR, "behind"), (0, "again")] {
        clock.jump(&stand, jump).await;
        for n in 0..5 {
            for (by, broker) in brokers.iter().enumerate() {
                let text = format!("{name} {n} of {by}");
                publish(broker, message("t", text.as_str())).await;
                wanted.push(text);
            }
            let text = format!("{name} {n} ages");
            publish(&brokers[0], message("aging/t", text.as_str()).ttl(day)).await;
            wanted.push(text);
            let text = format!("{name} {n} of SQL");
            app.run(&format!("SELECT tavern.publish('t', '{text}')")).await;
            wanted.push(text);
            // Once, in order; before the next comes, as what SQL publishes takes a moment.
            assert_eq!(client.texts(4).await, wanted[wanted.len() - 4..]);
        }
        let spent = message("t", format!("{name} spends itself")).ttl(hour / 4).id(name);
        publish(&brokers[1], spent.clone()).await;
        wanted.push(format!("{name} spends itself"));
        assert_eq!(client.texts(1).await, [format!("{name} spends itself")]);
        swept(&stand).await;
        let again = within("an answer", nodes[0].bus().publish(spent)).await.unwrap();
        assert!(matches!(again, Published::Duplicate(_)), "{name}: {again:?}");
        for node in &nodes {
            let health = node.bus().health().get();
            assert!(health.up && health.connects == 1, "{name}: {health:?}");
        }
        // What has become older in the meantime.
        let (mut late, mut kept) =
            (Client::resume(&brokers[0], &["t", "aging/t"], before), wanted.clone());
        if name == "now" {
            assert_eq!(late.complete_replay().await, kept);
            continue;
        }
        kept.retain(|text| !text.starts_with("now") || text.contains("of"));
        let (replay, _) = late.replay().await;
        assert_eq!(replay.texts(), kept, "{name}");
        assert_eq!(replay.reasons().len(), 1, "{name}: what was too old is told");
    }
    let head = nodes[0].head().await.position.seq;
    assert_eq!(head, u64::try_from(wanted.len()).unwrap(), "dense");
    let kept = stand.psql("SELECT count(*) FROM tavern.entry").await;
    assert_eq!(kept, (wanted.len() - 5).to_string(), "what was too old is gone, and no more");
    stage.close().await;
}
