//! Putting a server back to an older state.

use std::io;
use std::path::Path;

use super::data;
use super::server::{DATA, PostgresServer};

const SNAPSHOT: &str = "snapshot";

/// A server that stands still until this is dropped.
#[derive(Debug)]
struct Paused<'a>(&'a PostgresServer);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        // One that is dead by now has nothing to go on with.
        let _ = self.0.resume();
    }
}

impl PostgresServer {
    /// Puts all its data aside as they are now, for [`rewind`](Self::rewind). Clients stay
    /// connected: the server stands still meanwhile, no longer than the copy takes.
    ///
    /// # Errors
    ///
    /// If they cannot be copied.
    pub async fn save_snapshot(&self) -> io::Result<()> {
        let _paused = if self.is_running() {
            let paused = Paused(self);
            self.pause().await?;
            Some(paused)
        } else {
            None
        };
        self.replace(SNAPSHOT, DATA).await
    }

    /// kill -9, then starts it with the data of the last snapshot: what was written since is lost.
    /// It is the same server to all that it says of itself: no timeline, no identifier is new.
    ///
    /// # Errors
    ///
    /// If there is no snapshot, or the server does not start.
    pub async fn rewind(&self) -> io::Result<()> {
        self.kill().await?;
        self.replace(DATA, SNAPSHOT).await?;
        self.start_again().await
    }

    async fn replace(&self, to: &str, from: &str) -> io::Result<()> {
        let path = |name: &str| Path::join(self.dir(), name);
        let (to, from, owner) = (path(to), path(from), self.owner);
        let work = move || data::replace(&to, &from, owner);
        // The test may do much else in the one thread that it has.
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }
}
