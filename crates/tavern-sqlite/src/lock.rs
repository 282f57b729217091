//! The writers' queue: an `flock` beside the database.
//!
//! SQLite's own busy handler sleeps and tries again, which starves some writers for seconds; the
//! kernel's queue does not. The kernel also ends the lock with the process that holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;

use crate::place::FileId;

/// The lock file.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    file: File,
    id: FileId,
}

impl LockFile {
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let (file, id) = open(&path)?;
        Ok(Self { path, file, id })
    }

    /// Waits for the lock, however long that takes.
    pub(crate) fn acquire(&mut self) -> io::Result<()> {
        loop {
            match self.file.lock() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if self.is_current()? {
                return Ok(());
            }
        }
    }

    /// Takes the lock if nobody has it; returns whether that was so.
    pub(crate) fn try_acquire(&mut self) -> io::Result<bool> {
        loop {
            match self.file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(false),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if self.is_current()? {
                return Ok(true);
            }
        }
    }

    /// Gives the lock back.
    pub(crate) fn release(&mut self) {
        // Cannot fail on a lock that is held; if it did, closing the file would end it.
        if let Err(error) = self.file.unlock() {
            tracing::error!(%error, "the writers' lock could not be given back");
        }
    }

    /// The file, for the fence in it.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// A lock on a file that somebody removed keeps nobody out: then the one at the path is opened.
    fn is_current(&mut self) -> io::Result<bool> {
        let found = FileId::of(&self.path);
        if matches!(found, Ok(Some(id)) if id == self.id) {
            return Ok(true);
        }
        self.file.unlock()?;
        found?;
        (self.file, self.id) = open(&self.path)?;
        Ok(false)
    }
}

fn open(path: &PathBuf) -> io::Result<(File, FileId)> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let id = FileId::from(&file.metadata()?);
    Ok((file, id))
}
