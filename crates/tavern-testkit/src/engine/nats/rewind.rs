//! Putting a server back to an older state.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::config::STORE;
use super::server::NatsServer;

const SNAPSHOT: &str = "snapshot";

/// A server that stands still until this is dropped.
#[derive(Debug)]
pub(super) struct Paused<'a>(&'a NatsServer);

impl<'a> Paused<'a> {
    /// Pauses `server`, if it runs.
    ///
    /// # Errors
    ///
    /// If it does not stand still.
    pub(super) fn new(server: &'a NatsServer) -> io::Result<Option<Self>> {
        if !server.is_running() {
            return Ok(None);
        }
        server.pause()?;
        Ok(Some(Self(server)))
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        // One that is dead by now has nothing to go on with.
        let _ = self.0.resume();
    }
}

impl NatsServer {
    /// Puts all that JetStream has aside as it is now, for [`rewind`](Self::rewind). Clients stay
    /// connected: the server stands still meanwhile, no longer than the copy takes.
    ///
    /// # Errors
    ///
    /// If it cannot be copied.
    pub async fn save_snapshot(&self) -> io::Result<()> {
        let _paused = Paused::new(self)?;
        self.copy_store().await
    }

    /// kill -9, then starts it with the data of the last snapshot: what was written since is lost.
    ///
    /// # Errors
    ///
    /// If there is no snapshot, or the server does not start.
    pub async fn rewind(&self) -> io::Result<()> {
        self.kill().await?;
        self.put_back().await?;
        self.start_again().await
    }

    /// Puts the store aside. Each message that was acknowledged is in it, as the server writes
    /// before it says so; of what it has not acknowledged, the copy has any part, as after kill -9.
    pub(super) async fn copy_store(&self) -> io::Result<()> {
        replace(self.dir().join(SNAPSHOT), self.dir().join(STORE)).await
    }

    pub(super) async fn put_back(&self) -> io::Result<()> {
        // Copied, not moved: a server may be put back twice.
        replace(self.dir().join(STORE), self.dir().join(SNAPSHOT)).await
    }
}

/// Makes the directory `to` what `from` is.
async fn replace(to: PathBuf, from: PathBuf) -> io::Result<()> {
    let work = move || {
        if !from.is_dir() {
            let text = format!("there is no {}", from.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        match fs::remove_dir_all(&to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        copy(&from, &to)
    };
    // The test may do much else in the one thread that it has.
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
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
