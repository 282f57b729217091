//! Hubs as real processes.

use std::fs::OpenOptions;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::wait::within;

/// A `tavern serve` process on a port of its own; it is killed when this is dropped.
#[derive(Debug)]
pub struct Hub {
    binary: PathBuf,
    dir: PathBuf,
    port: u16,
    /// Where it writes what it logs; to standard error if nowhere.
    log: Option<PathBuf>,
    child: Child,
}

impl Hub {
    /// Starts `binary serve` in `dir` on a free port and waits until it answers.
    ///
    /// # Errors
    ///
    /// If there is no free port, or the binary does not start.
    ///
    /// # Panics
    ///
    /// If it starts and never answers.
    pub async fn start(binary: &Path, dir: &Path) -> io::Result<Self> {
        Self::new(binary, dir, None).await
    }

    /// The same; what it logs, from `warn` on, is added to the file `log`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and if the file cannot be written.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn start_logging(binary: &Path, dir: &Path, log: &Path) -> io::Result<Self> {
        Self::new(binary, dir, Some(log)).await
    }

    async fn new(binary: &Path, dir: &Path, log: Option<&Path>) -> io::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = spawn(binary, dir, port, log)?;
        let (binary, dir) = (binary.to_owned(), dir.to_owned());
        let hub = Self { binary, dir, port, log: log.map(Path::to_owned), child };
        hub.answers().await;
        Ok(hub)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// kill -9, and waits until it is dead.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Sends a signal by its name: `STOP`, `CONT`, `TERM`.
    ///
    /// # Errors
    ///
    /// If the process is gone, or there is no `kill`.
    pub async fn signal(&self, name: &str) -> io::Result<()> {
        let id = self.child.id().ok_or(io::ErrorKind::NotFound)?;
        let mut kill = Command::new("kill");
        let status = kill.arg(format!("-{name}")).arg(id.to_string()).status().await?;
        if status.success() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Starts it again where it was, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If it does not start.
    ///
    /// # Panics
    ///
    /// If it starts and never answers.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.child = spawn(&self.binary, &self.dir, self.port, self.log.as_deref())?;
        self.answers().await;
        Ok(())
    }

    #[track_caller]
    fn answers(&self) -> impl Future<Output = ()> + use<> {
        let url = format!("{}/healthz", self.url());
        within("the hub answers", async move {
            let client = reqwest::Client::new();
            while !client.get(&url).send().await.is_ok_and(|r| r.status().is_success()) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
    }
}

fn spawn(binary: &Path, dir: &Path, port: u16, log: Option<&Path>) -> io::Result<Child> {
    let mut command = Command::new(binary);
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
    command.current_dir(dir).kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null());
    match log {
        Some(log) => {
            let file = OpenOptions::new().create(true).append(true).open(log)?;
            command.args(["--log", "warn"]).stderr(file).spawn()
        }
        None => command.args(["--log", "error"]).spawn(),
    }
}
