//! Data directories, copied.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::owner::Owner;

/// What belongs to a run of the server, not to its data.
const OF_A_RUN: [&str; 2] = ["postmaster.pid", "postmaster.opts"];

/// Copies the data directory `from` to `to` for `owner`, which is empty or not there yet. Files that
/// vanish meanwhile are left out.
///
/// # Errors
///
/// If they cannot be read or written.
pub(super) fn copy(from: &Path, to: &Path, owner: Owner) -> io::Result<()> {
    // Postgres refuses directories that others may read.
    DirBuilder::new().mode(0o700).recursive(true).create(to)?;
    owner.give(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to, owner)?;
        } else if !OF_A_RUN.iter().any(|name| entry.file_name() == *name) {
            match fs::copy(entry.path(), &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                result => result?,
            };
            owner.give(&to)?;
        }
    }
    Ok(())
}

/// Puts the data directory `from` in the place of `to`, and keeps `from`.
///
/// # Errors
///
/// If there is none.
pub(super) fn replace(to: &Path, from: &Path, owner: Owner) -> io::Result<()> {
    if !from.is_dir() {
        let text = format!("there is no {}", from.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    clear(to)?;
    copy(from, to, owner)
}

/// Empties the directory, if it is there. It stays itself: by that the next start knows which shared
/// memory the run before has left, and frees it.
///
/// # Errors
///
/// If something cannot be removed.
pub(super) fn clear(dir: &Path) -> io::Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}
