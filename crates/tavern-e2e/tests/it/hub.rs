//! Real `tavern serve` processes.

mod binary;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::patience::within;

/// A node of a cluster on one SQLite file. It can be ended and started again in the same place;
/// dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Hub {
    dir: PathBuf,
    address: SocketAddr,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Hub {
    /// Starts a node in `dir`, on a port of its own, and waits until it listens.
    pub(crate) async fn start(dir: &Path, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut hub = Self { dir: dir.to_owned(), address: free_address(), flags, child: None };
        hub.start_again().await;
        hub
    }

    /// Starts it again, on the same port.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = Command::new(binary::path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TAVERN_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["serve", "--until-stdin-ends", "--listen", &self.address.to_string()])
            .args(&self.flags)
            .current_dir(&self.dir)
            // Ends with this process, however this process ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the hub starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.starts_with("listening on ") {
                    return;
                }
            }
            panic!("the hub ended at once:\n{}", self.log());
        };
        within(listening, || format!("the hub listens\n{}", self.log())).await;
        self.child = Some(child);
    }

    /// As `kill -9` does: no warning, nothing put in order.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().await.expect("it is killed");
    }

    /// As an operator does: SIGTERM, and what follows from it.
    pub(crate) async fn terminate(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.unwrap(), Signal::TERM).unwrap();
        let status =
            within(child.wait(), || format!("the hub ends\n{}", self.log())).await.unwrap();
        assert!(status.success(), "{status:?}\n{}", self.log());
    }

    /// The URL of a stream of `topics`.
    pub(crate) fn stream(&self, topics: &[&str]) -> String {
        let topics: Vec<_> = topics.iter().map(|topic| format!("topic={topic}")).collect();
        format!("http://{}/events?{}", self.address, topics.join("&"))
    }

    /// Publishes `texts` to `topic`, in order; all are stored.
    pub(crate) async fn publish(&self, topic: &str, texts: &[String]) {
        let envelopes: Vec<Value> =
            texts.iter().map(|text| json!({"topic": topic, "data": text})).collect();
        let url = format!("http://{}/publish", self.address);
        let sending = reqwest::Client::new().post(url).json(&envelopes).send();
        let response = within(sending, || format!("an answer\n{}", self.log())).await.unwrap();
        let outcomes: Vec<Value> = response.json().await.unwrap();
        assert_eq!(outcomes.len(), texts.len());
        assert!(outcomes.iter().all(|outcome| outcome["status"] == "stored"), "{outcomes:?}");
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        format!("--- the log of the hub at {}\n{log}", self.address)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join(format!("hub-{}.log", self.address.port()))
    }
}

/// A port that nobody has, and that nobody gets by chance while the hub is down: it lies below
/// those that the system gives to outgoing connections.
fn free_address() -> SocketAddr {
    std::iter::repeat_with(|| {
        SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(12_000..32_000)))
    })
    .take(1_000)
    .find(|address| TcpListener::bind(address).is_ok())
    .expect("a free port")
}
