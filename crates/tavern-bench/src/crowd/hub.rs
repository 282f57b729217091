//! The hub's process, and what it spends.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::client::LOOK_AGAIN;
use crate::run::Result;

/// Names the program to measure; else it is the one beside this program.
const VARIABLE: &str = "TAVERN_BENCH_HUB";
const PATIENCE: Duration = Duration::from_secs(60);
/// The kernel counts a process's time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A `tavern serve` process. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Hub {
    binary: PathBuf,
    backend: String,
    address: SocketAddr,
    child: Child,
}

/// What a hub has spent so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) cpu: Duration,
    /// Bytes: the most it ever had.
    pub(super) memory: f64,
    pub(super) page_reads: f64,
    pub(super) page_hits: f64,
    pub(super) head_reads: f64,
}

impl Spent {
    /// What came since `before`.
    pub(super) fn since(self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            memory: self.memory,
            page_reads: self.page_reads - before.page_reads,
            page_hits: self.page_hits - before.page_hits,
            head_reads: self.head_reads - before.head_reads,
        }
    }
}

impl Hub {
    /// Starts it on a free port.
    pub(super) async fn start(backend: &str) -> Result<Self> {
        let binary = binary()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = spawn(&binary, backend, address).await?;
        Ok(Self { binary, backend: backend.to_owned(), address, child })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// kill -9.
    pub(super) async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Starts it again on the same port.
    pub(super) async fn start_again(&mut self) -> Result<()> {
        self.child = spawn(&self.binary, &self.backend, self.address).await?;
        Ok(())
    }

    pub(super) async fn end(mut self) -> Result<()> {
        self.kill().await
    }

    /// Waits until it has noticed that the clients are gone.
    pub(super) async fn forgets(&self, clients: usize) -> Result<()> {
        let begun = Instant::now();
        loop {
            let status = self.status().await?;
            if status["subscribers"] == 0 {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{} of {clients} stay", status["subscribers"]).into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// What it has spent so far.
    pub(super) async fn spent(&self) -> Result<Spent> {
        let counters = &self.status().await?["counters"];
        let id = self.child.id().ok_or("the hub has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // Behind the name in brackets, user and system time are the 12th and 13th field.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: u32 = times.filter_map(|time| time.parse::<u32>().ok()).sum();
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let most = most.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        let count = |name: &str| counters[name].as_f64().unwrap_or(f64::NAN);
        Ok(Spent {
            cpu: TICK * ticks,
            memory: most.unwrap_or(f64::NAN) * 1024.0,
            page_reads: count("page_reads"),
            page_hits: count("page_hits"),
            head_reads: count("head_reads"),
        })
    }

    async fn status(&self) -> Result<Value> {
        let asking = async {
            let mut stream = TcpStream::connect(self.address).await?;
            let request = "GET /status HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let body = answer.split_once("\r\n\r\n").ok_or("the hub answers nothing")?.1;
            Result::<Value>::Ok(serde_json::from_str(body)?)
        };
        timeout(PATIENCE, asking).await.map_err(|_| "the hub does not answer")?
    }
}

/// The program that is measured.
fn binary() -> Result<PathBuf> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join("tavern"));
    let path = std::env::var_os(VARIABLE).map(PathBuf::from).or_else(beside);
    match path.filter(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => Err(format!(
            "the hub is not there: `cargo build --release -p tavern-server`, or {VARIABLE}=PATH"
        )
        .into()),
    }
}

/// Starts a hub, and waits until it listens.
async fn spawn(binary: &PathBuf, backend: &str, address: SocketAddr) -> Result<Child> {
    let mut child = Command::new(binary)
        .args(["serve", "--until-stdin-ends", "--log", "error"])
        .args(["--listen", &address.to_string(), "--backend", backend])
        // Ends with this process, however this process ends.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the hub has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await? {
            if line.starts_with("listening on ") {
                return Result::<()>::Ok(());
            }
        }
        Err("the hub ended at once".into())
    };
    timeout(PATIENCE, listening).await.map_err(|_| "the hub does not start")??;
    Ok(child)
}
