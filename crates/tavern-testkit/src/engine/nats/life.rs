//! The life of a server and its deaths.

use std::io;
use std::sync::{Arc, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use serde_json::Value;

use super::conn::NatsConn;
use super::options::NatsAuth;
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
    /// included, which one of a cluster may not have without the others.
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

    /// Lets it stand still, as a machine does that swaps: its connections stay open. When this
    /// returns it does stand still.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pause(&self) -> io::Result<()> {
        let daemon = self.daemon();
        daemon.signal(Signal::STOP)?;
        let id = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw);
        let id = WaitId::Pid(id.ok_or(io::ErrorKind::NotFound)?);
        // The threads stop one by one, which takes the system no time worth awaiting. Looked at
        // only: whoever waits for its end learns of it, too.
        waitid(id, WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        if self.is_running() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
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
        let info = NatsConn::info_of(&self.addr()).await?;
        // Somebody else's server may have taken the port, and would answer, too.
        let (name, cluster) = (info["server_name"].as_str(), info["cluster"].as_str());
        if name != Some(&*self.name) || cluster != self.cluster.as_deref() {
            return Err(io::Error::other("another server answers"));
        }
        if self.cluster.is_some() {
            // Without the others it can do no more.
            return self.http("/varz").await.map(|_| ());
        }
        self.is_healthy().await?;
        let locked = matches!(self.options().auth, NatsAuth::Raw(_, None));
        if self.options().jetstream && !locked {
            self.js("INFO", Value::Null).await?;
        }
        Ok(())
    }
}

/// Whether the port was somebody else's.
pub(super) fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}
