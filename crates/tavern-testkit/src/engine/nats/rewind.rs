//! Putting a server back to an older state.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::config::STORE;
use super::server::NatsServer;
use crate::engine::deadline::Deadline;

const SNAPSHOT: &str = "snapshot";

impl NatsServer {
    /// Puts all that JetStream has aside as it is now, for [`rewind`](Self::rewind). Clients stay
    /// connected: the server stands still meanwhile, no longer than the copy takes.
    ///
    /// # Errors
    ///
    /// If it cannot be copied.
    pub async fn save_snapshot(&self) -> io::Result<()> {
        if !self.is_running() {
            return self.copy_store();
        }
        self.stop_still().await?;
        let copied = self.copy_store();
        self.resume()?;
        copied
    }

    /// kill -9, then starts it with the data of the last snapshot: what was written since is lost.
    ///
    /// # Errors
    ///
    /// If there is no snapshot, or the server does not start.
    pub async fn rewind(&self) -> io::Result<()> {
        self.kill().await?;
        self.put_back()?;
        self.start_again().await
    }

    /// Pauses it, and waits until it does stand still.
    pub(super) async fn stop_still(&self) -> io::Result<()> {
        self.pause()?;
        let id = i32::try_from(self.daemon().id()).ok().and_then(Pid::from_raw);
        let id = WaitId::Pid(id.ok_or(io::ErrorKind::NotFound)?);
        let deadline = Deadline::new("an engine to stand still");
        // Looked at only: whoever waits for its end learns of it, too.
        let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while waitid(id.clone(), look)?.is_none() {
            deadline.tick().await?;
        }
        Ok(())
    }

    pub(super) fn copy_store(&self) -> io::Result<()> {
        let snapshot = self.dir().join(SNAPSHOT);
        remove(&snapshot)?;
        copy(&self.dir().join(STORE), &snapshot)
    }

    pub(super) fn put_back(&self) -> io::Result<()> {
        let (store, snapshot) = (self.dir().join(STORE), self.dir().join(SNAPSHOT));
        if !snapshot.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no snapshot"));
        }
        remove(&store)?;
        // Copied, not moved: a server may be put back twice.
        copy(&snapshot, &store)
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
