//! The life of a server and its deaths.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use rustix::process::Signal;

use super::config;
use super::server::RedisServer;
use crate::engine::daemon::Daemon;
use crate::engine::deadline::Deadline;
use crate::engine::guarded;

/// When a start is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Answers,
    Loaded,
}

impl RedisServer {
    /// Whether its process has not ended; one that is paused runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.daemon().ended().is_ok_and(|status| status.is_none())
    }

    /// kill -9, and waits until it is dead.
    ///
    /// # Errors
    ///
    /// If it does not die.
    pub async fn kill(&self) -> io::Result<()> {
        self.daemon().end(Signal::KILL).await
    }

    /// Asks it to end, as at an ordinary shutdown, and waits until it has.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub async fn terminate(&self) -> io::Result<()> {
        self.daemon().end(Signal::TERM).await
    }

    /// Starts it where it was, with what is on its disk, and waits until that is loaded.
    ///
    /// # Errors
    ///
    /// If it runs, or does not start.
    pub async fn start_again(&self) -> io::Result<()> {
        self.run(&[], Until::Loaded).await
    }

    /// Starts it where it was, and waits only until it answers, be it with `LOADING`.
    ///
    /// # Errors
    ///
    /// If it runs, or does not start.
    pub async fn start_loading(&self) -> io::Result<()> {
        self.run(&[], Until::Answers).await
    }

    /// Waits until it has loaded what is on its disk, after [`start_loading`](Self::start_loading).
    ///
    /// # Errors
    ///
    /// If it ends, or takes too long.
    pub async fn wait_loaded(&self) -> io::Result<()> {
        self.is_up(Until::Loaded).await
    }

    /// Lets it stand still, as a machine does that swaps: its connections stay open.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pause(&self) -> io::Result<()> {
        self.daemon().signal(Signal::STOP)
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn resume(&self) -> io::Result<()> {
        self.daemon().signal(Signal::CONT)
    }

    fn daemon(&self) -> Arc<Daemon> {
        Arc::clone(&self.daemon.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn run(&self, more: &[&str], until: Until) -> io::Result<()> {
        if self.daemon().ended()?.is_none() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the engine is running"));
        }
        let arguments = [self.arguments, more].concat();
        let mut deadline = Deadline::new("the start of an engine");
        loop {
            let daemon = Arc::new(spawn(&self.program, self.dir(), &arguments)?);
            *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = daemon;
            match self.is_up(until).await {
                Err(error) if is_taken(&error) => deadline.saw(error),
                result => return result,
            }
            deadline.tick().await?;
        }
    }

    pub(super) async fn is_up(&self, until: Until) -> io::Result<()> {
        let daemon = self.daemon();
        let mut deadline = Deadline::new("an answer from a new engine");
        loop {
            if let Some(status) = daemon.ended()? {
                let words = daemon.last_words();
                let taken = words.contains("Failed listening") || words.contains("already in use");
                let kind = if taken { io::ErrorKind::AddrInUse } else { io::ErrorKind::Other };
                let program = self.program.display();
                return Err(io::Error::new(
                    kind,
                    format!("{program} ended with {status}:\n{words}"),
                ));
            }
            match self.answers(daemon.id(), until).await {
                Ok(()) => return Ok(()),
                Err(error) => deadline.saw(error),
            }
            deadline.tick().await?;
        }
    }

    async fn answers(&self, id: u32, until: Until) -> io::Result<()> {
        // Somebody else's server may have taken the port, and would answer, too.
        if self.info("process_id").await? != id.to_string() {
            return Err(io::Error::other("another server answers"));
        }
        if until == Until::Loaded { self.cli(&["PING"]).await.map(|_| ()) } else { Ok(()) }
    }
}

/// Starts `program` with the file in `dir`.
pub(super) fn spawn(program: &Path, dir: &Path, arguments: &[&str]) -> io::Result<Daemon> {
    let mut command = guarded::command(program, "KILL")?;
    command.arg(dir.join(config::NAME)).args(arguments).current_dir(dir);
    guarded::spawn(command, dir.join("server.log"))
}

/// Whether the port was somebody else's.
pub(super) fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}
