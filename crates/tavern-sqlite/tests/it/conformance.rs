//! The suite that every backend passes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;
use tavern_backend::{Error, Result, Retention};
use tavern_sqlite::{SqliteBackend, SqliteConfig};
use tavern_testkit::Rig;

tavern_testkit::conformance!(SqliteRig::new());

/// A database in a directory of its own.
#[derive(Debug)]
struct SqliteRig {
    dir: tempfile::TempDir,
}

impl SqliteRig {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn db(&self) -> PathBuf {
        self.dir.path().join("log.db")
    }

    fn backup(&self) -> PathBuf {
        self.dir.path().join("backup.db")
    }
}

impl Rig for SqliteRig {
    type Backend = SqliteBackend;

    async fn open(&self, retention: Retention) -> Result<SqliteBackend> {
        let mut config = SqliteConfig::new(self.db()).with_retention(retention);
        config.max_payload = 64 << 10;
        config.poll_interval = Duration::from_millis(20);
        SqliteBackend::open(config).await
    }

    /// What lies in the write-ahead log only is not lost with the last process.
    async fn restart(&self) -> Result<()> {
        Ok(())
    }

    async fn checkpoint(&self) -> Result<()> {
        copy(&self.db(), &self.backup()).map_err(failed)
    }

    /// As one restores a backup while programs run: another file is moved to the place, and what
    /// lay beside the old one goes. Nobody remembers then but the nodes.
    async fn rewind(&self) -> Result<()> {
        let restored = self.dir.path().join("restored.db");
        copy(&self.backup(), &restored).map_err(failed)?;
        // The old file stays somewhere, so that its inode is not given to another.
        let aside = self.dir.path().join(format!("aside-{}.db", fastrand::u64(..)));
        std::fs::hard_link(self.db(), aside).map_err(moved)?;
        for beside in ["-wal", "-shm", "-lock"] {
            match std::fs::remove_file(self.dir.path().join(format!("log.db{beside}"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(moved(error));
                }
                _ => {}
            }
        }
        std::fs::rename(restored, self.db()).map_err(moved)
    }
}

fn copy(from: &Path, to: &Path) -> rusqlite::Result<()> {
    let (from, mut to) = (Connection::open(from)?, Connection::open(to)?);
    to.busy_timeout(Duration::from_secs(5))?;
    Backup::new(&from, &mut to)?.run_to_completion(1 << 20, Duration::from_millis(5), None)
}

fn failed(error: rusqlite::Error) -> Error {
    Error::unavailable_from("the database could not be copied", error)
}

fn moved(error: std::io::Error) -> Error {
    Error::unavailable_from("the database could not be moved", error)
}
