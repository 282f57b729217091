//! Where the programs of Postgres are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::program;

const PACKAGE: &str = "the Debian package postgresql";

/// The programs of one version, which lie beside each other.
#[derive(Debug, Clone)]
pub(super) struct Programs(PathBuf);

impl Programs {
    /// Those beside the `postgres` in `PATH`, or else of Debian's newest version.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub(super) fn find() -> io::Result<Self> {
        let found = program::find("postgres", PACKAGE).and_then(fs::canonicalize);
        let server =
            found.or_else(|error| newest(Path::new("/usr/lib/postgresql")).ok_or(error))?;
        Ok(Self(server.parent().unwrap_or(Path::new("/")).to_owned()))
    }

    /// The path of one of them.
    ///
    /// # Errors
    ///
    /// If it is missing.
    pub(super) fn get(&self, name: &str) -> io::Result<PathBuf> {
        let file = self.0.join(name);
        if file.is_file() {
            return Ok(file);
        }
        let text = format!("there is no {}: install {PACKAGE}", file.display());
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}

/// The server of the highest version below `dir`, where each has a directory of its own.
fn newest(dir: &Path) -> Option<PathBuf> {
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let dirs = fs::read_dir(dir).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let usable = dirs.filter(|dir| dir.join("bin/postgres").is_file());
    Some(usable.max_by_key(version)?.join("bin/postgres"))
}

#[cfg(test)]
mod tests;
