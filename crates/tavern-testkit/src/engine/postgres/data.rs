//! Data directories, copied.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::owner::Owner;

/// What belongs to a run of the server, not to its data.
const OF_A_RUN: [&str; 2] = ["postmaster.pid", "postmaster.opts"];

/// Copies the data directory `from` to `to`, which is not there yet, for `owner`. Files that vanish
/// meanwhile are left out.
///
/// # Errors
///
/// If they cannot be read or written.
pub(super) fn copy(from: &Path, to: &Path, owner: Owner) -> io::Result<()> {
    // Postgres refuses directories that others may read.
    DirBuilder::new().mode(0o700).create(to)?;
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

/// Removes what is there of the directory.
///
/// # Errors
///
/// If it cannot be removed.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
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
    // It names the shared memory of the run before, which the next start frees.
    let of_a_run = to.join(OF_A_RUN[0]);
    let kept = fs::read(&of_a_run);
    remove(to)?;
    copy(from, to, owner)?;
    if let Ok(text) = kept {
        fs::write(&of_a_run, text)?;
        owner.give(&of_a_run)?;
    }
    Ok(())
}
