//! The life of a server and its deaths.

use std::fs;
use std::io;
use std::sync::{Arc, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use super::family;
use super::server::{DATA, PostgresServer};
use crate::engine::daemon::Daemon;
use crate::engine::deadline::Deadline;

impl PostgresServer {
    /// Whether its process has not ended; one that is paused runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.daemon().ended().is_ok_and(|status| status.is_none())
    }

    /// kill -9 of it and all of its processes at one moment, and waits until they are dead.
    ///
    /// # Errors
    ///
    /// If they do not die.
    pub async fn kill(&self) -> io::Result<()> {
        let daemon = self.daemon();
        // What stands still has no further children.
        if stop(&daemon).is_ok() {
            let children = family::descendants(daemon.id())?;
            family::signal(&children, Signal::KILL);
            daemon.end(Signal::KILL).await?;
            family::ended(&children).await?;
        }
        Ok(())
    }

    /// Asks it to end, as at an ordinary shutdown: it hangs up on its clients, writes a checkpoint,
    /// and has ended when this returns.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub async fn terminate(&self) -> io::Result<()> {
        self.daemon().end(Signal::INT).await
    }

    /// Starts it where it was, with what is on its disk, and waits until it accepts connections:
    /// after [`kill`](Self::kill) that is when it has recovered.
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

    /// Lets it and all of its processes stand still, as a machine does that swaps: its connections
    /// stay open. When this returns they do stand still.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub async fn pause(&self) -> io::Result<()> {
        let daemon = self.daemon();
        stop(&daemon)?;
        let children = family::descendants(daemon.id())?;
        family::signal(&children, Signal::STOP);
        family::stand_still(&children).await
    }

    /// Ends a [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn resume(&self) -> io::Result<()> {
        let daemon = self.daemon();
        family::signal(&family::descendants(daemon.id())?, Signal::CONT);
        daemon.signal(Signal::CONT)
    }

    pub(super) fn daemon(&self) -> Arc<Daemon> {
        Arc::clone(&self.daemon.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn is_up(&self) -> io::Result<()> {
        let daemon = self.daemon();
        let mut deadline = Deadline::new("a new Postgres to accept connections");
        loop {
            if let Some(status) = daemon.ended()? {
                let words = daemon.last_words();
                let taken = words.contains("Address already in use");
                let kind = if taken { io::ErrorKind::AddrInUse } else { io::ErrorKind::Other };
                return Err(io::Error::new(
                    kind,
                    format!("postgres ended with {status}:\n{words}"),
                ));
            }
            let state = self.state(daemon.id());
            if matches!(state.as_deref(), Some("ready" | "standby")) {
                return Ok(());
            }
            deadline.saw(format!("{state:?}: {}", daemon.last_words()));
            deadline.tick().await?;
        }
    }

    /// What the server with this id says of itself in the file that names it, as `pg_ctl` reads it.
    fn state(&self, id: u32) -> Option<String> {
        let text = fs::read_to_string(self.dir().join(DATA).join("postmaster.pid")).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        (lines.first()?.parse() == Ok(id)).then(|| lines.get(7).map(|state| (*state).to_owned()))?
    }
}

/// Stops the process, and waits until it stands still.
pub(super) fn stop(daemon: &Daemon) -> io::Result<()> {
    daemon.signal(Signal::STOP)?;
    let id = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw);
    let id = WaitId::Pid(id.ok_or(io::ErrorKind::NotFound)?);
    // Looked at only: whoever waits for its end learns of it, too.
    waitid(id, WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    if daemon.ended()?.is_none() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Whether the port was somebody else's.
pub(super) fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}
