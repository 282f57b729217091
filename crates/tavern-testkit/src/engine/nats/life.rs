//! The life of a server and its deaths.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, PoisonError};

use rustix::process::Signal;
use serde_json::Value;

use super::config;
use super::conn::NatsConn;
use super::options::{NatsAuth, NatsTls};
use super::server::NatsServer;
use crate::engine::daemon::Daemon;
use crate::engine::deadline::Deadline;

impl NatsServer {
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

    /// Starts it where it was, with what is on its disk, and waits until it answers, JetStream
    /// included.
    ///
    /// # Errors
    ///
    /// If it runs, or does not start.
    pub async fn start_again(&self) -> io::Result<()> {
        let mut deadline = Deadline::new("the start of an engine");
        loop {
            self.spawn_again()?;
            match self.is_up().await {
                Err(error) if is_taken(&error) => deadline.saw(error),
                result => return result,
            }
            deadline.tick().await?;
        }
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

    /// Lets it send its clients away, and then end: lame duck mode. Waits for nothing.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn lame_duck(&self) -> io::Result<()> {
        self.daemon().signal(Signal::USR2)
    }

    pub(super) fn daemon(&self) -> Arc<Daemon> {
        Arc::clone(&self.daemon.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn spawn_again(&self) -> io::Result<()> {
        if self.is_running() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the engine is running"));
        }
        let daemon = Arc::new(spawn(&self.program, self.dir())?);
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = daemon;
        Ok(())
    }

    pub(super) async fn is_up(&self) -> io::Result<()> {
        let daemon = self.daemon();
        let mut deadline = Deadline::new("an answer from a new engine");
        loop {
            if let Some(status) = daemon.ended()? {
                let words = daemon.last_words();
                let taken = words.contains("address already in use");
                let kind = if taken { io::ErrorKind::AddrInUse } else { io::ErrorKind::Other };
                let program = self.program.display();
                return Err(io::Error::new(
                    kind,
                    format!("{program} ended with {status}:\n{words}"),
                ));
            }
            match self.answers().await {
                Ok(()) => return Ok(()),
                Err(error) => deadline.saw(error),
            }
            deadline.tick().await?;
        }
    }

    async fn answers(&self) -> io::Result<()> {
        // Somebody else's server may have taken the port, and would answer, too.
        if NatsConn::info_of(&self.addr()).await?["server_name"] != self.name.as_str() {
            return Err(io::Error::other("another server answers"));
        }
        // All its streams are there, and those of a cluster are what they are elsewhere.
        self.http("/healthz").await?;
        let locked = matches!(self.options().auth, NatsAuth::Raw(_, None));
        if self.options().jetstream && self.options().tls == NatsTls::No && !locked {
            self.js("INFO", Value::Null).await?;
        }
        Ok(())
    }
}

/// Starts `program` with the file in `dir`.
pub(super) fn spawn(program: &Path, dir: &Path) -> io::Result<Daemon> {
    let mut command = Command::new(program);
    command.arg("-c").arg(dir.join(config::NAME)).current_dir(dir);
    Daemon::spawn(&mut command, &dir.join("server.log"))
}

/// Whether the port was somebody else's.
pub(super) fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}
