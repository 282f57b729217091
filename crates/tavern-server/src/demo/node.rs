//! A node of the demonstration: this same program, as a child process.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::client::Hub;
use crate::failure::Failure;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(15);

/// A running `tavern serve`. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) hub: Hub,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
    child: Child,
}

impl Node {
    /// Starts a node in `dir` that listens on `address`, and waits until it does.
    pub(crate) async fn start(
        name: &'static str,
        dir: &Path,
        address: &str,
    ) -> Result<Self, Failure> {
        let failed = |what: &dyn std::fmt::Display| {
            Failure::failed(format_args!("node {name} cannot start: {what}"))
        };
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log_path(dir, name))
            .map_err(|error| failed(&error))?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--backend", "sqlite:tavern.db", "--listen", address])
            .args(["--log", "info", "--until-stdin-ends"])
            .current_dir(dir)
            // If this process dies without a word, the pipe ends, and the node with it.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C in a terminal is for this process, which then ends its nodes in order.
            .process_group(0)
            .kill_on_drop(true);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("TAVERN_") {
                command.env_remove(variable);
            }
        }
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let Some(stdout) = child.stdout.take() else {
            return Err(failed(&"its output cannot be read"));
        };
        let mut lines = BufReader::new(stdout).lines();
        let url = loop {
            match timeout(START, lines.next_line()).await {
                Ok(Ok(Some(line))) => {
                    if let Some(url) = line.strip_prefix("listening on ") {
                        break url.to_owned();
                    }
                }
                Ok(Ok(None)) => return Err(failed(&"it ended at once")),
                Ok(Err(error)) => return Err(failed(&error)),
                Err(_) => return Err(failed(&format_args!("nothing was heard for {START:?}"))),
            }
        };
        Ok(Self { name, hub: Hub::at(&url)?, url, child })
    }

    /// The process, as long as it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// `HOST:PORT`, to start it again in the same place.
    pub(crate) fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    /// As `kill -9` does: no warning, nothing put in order.
    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        let name = self.name;
        self.child
            .kill()
            .await
            .map_err(|error| Failure::failed(format_args!("node {name} cannot be killed: {error}")))
    }

    /// Asks it to end, and sees that it does.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let name = self.name;
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // An error means that it is gone already, which the wait below finds.
            let _ = kill_process(pid, Signal::TERM);
        }
        match timeout(STOP, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Failure::failed(format_args!("node {name} ended with {status}"))),
            Ok(Err(error)) => Err(Failure::failed(format_args!("node {name}: {error}"))),
            Err(_) => Err(Failure::failed(format_args!("node {name} did not end in {STOP:?}"))),
        }
    }
}

/// What a node has logged.
pub(crate) fn log_path(dir: &Path, name: &str) -> std::path::PathBuf {
    dir.join(format!("{name}.log"))
}
