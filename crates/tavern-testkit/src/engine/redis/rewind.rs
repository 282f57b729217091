//! Putting a server back to an older state.

use std::fs;
use std::io;
use std::path::Path;

use super::life::Until;
use super::server::RedisServer;
use crate::engine::deadline::Deadline;

const DUMP: &str = "dump.rdb";
const SNAPSHOT: &str = "snapshot.rdb";

impl RedisServer {
    /// Puts all data aside as they are now, for [`rewind`](Self::rewind).
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub async fn save_snapshot(&self) -> io::Result<()> {
        let mut deadline = Deadline::new("a snapshot");
        while let Err(error) = self.cli(&["SAVE"]).await {
            // A replica's sync saves in the background, and only one may at a time.
            deadline.saw(error);
            deadline.tick().await?;
        }
        // Moved, not copied: the next start must not load it.
        fs::rename(self.dir().join(DUMP), self.dir().join(SNAPSHOT))
    }

    /// kill -9, then starts it with the data of the last snapshot: what was written since is lost.
    ///
    /// # Errors
    ///
    /// If there is no snapshot, or the server does not start.
    pub async fn rewind(&self) -> io::Result<()> {
        self.kill().await?;
        for file in ["appendonlydir", "appendonly.aof"].map(|name| self.dir().join(name)) {
            if file.is_dir() { fs::remove_dir_all(file)? } else { remove(&file)? }
        }
        fs::copy(self.dir().join(SNAPSHOT), self.dir().join(DUMP))?;
        // A server that is told to append reads nothing else, so it is told later.
        self.run(&["--appendonly", "no"], Until::Loaded).await?;
        remove(&self.dir().join(DUMP))?;
        if self.options().appendonly {
            self.cli(&["CONFIG", "SET", "appendonly", "yes"]).await?;
            let mut deadline = Deadline::new("the server to append again");
            while !self.appends().await? {
                deadline.saw("it rewrites its log");
                deadline.tick().await?;
            }
        }
        Ok(())
    }

    async fn appends(&self) -> io::Result<bool> {
        let busy = ["aof_rewrite_in_progress", "aof_rewrite_scheduled"];
        Ok(self.info("aof_enabled").await? == "1"
            && self.info(busy[0]).await? == "0"
            && self.info(busy[1]).await? == "0")
    }
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
