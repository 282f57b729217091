//! Where things lie: the database file and what belongs beside it.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::failure::{Failure, Outcome};

/// Which file a path leads to. As long as somebody holds the file open, no other gets its number;
/// after that, only the time of birth tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    /// When it was created, in nanoseconds since 1970, where the file system tells.
    pub(crate) birth: Option<u64>,
}

impl FileId {
    /// Of the file at `path`, or `None` if there is none.
    ///
    /// The path is asked and never opened: closing any handle on the database file would drop the
    /// POSIX locks that SQLite holds on it in this process.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(meta) => Ok(Some(Self::from(&meta))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether both are the same file, as far as is known.
    pub(crate) fn may_be(self, other: Self) -> bool {
        let born = self.birth.zip(other.birth);
        (self.dev, self.ino) == (other.dev, other.ino) && born.is_none_or(|(a, b)| a == b)
    }
}

impl From<&Metadata> for FileId {
    fn from(meta: &Metadata) -> Self {
        let since = meta.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let birth = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Self { dev: meta.dev(), ino: meta.ino(), birth: birth.filter(|birth| *birth > 0) }
    }
}

/// The paths of one log.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The database.
    pub(crate) db: PathBuf,
    /// SQLite's write-ahead log.
    pub(crate) wal: PathBuf,
    /// SQLite's index of it.
    pub(crate) shm: PathBuf,
    /// The writers' queue, with the fence in it.
    pub(crate) lock: PathBuf,
    /// The doorbells.
    pub(crate) nodes: PathBuf,
}

impl Place {
    /// Symbolic links are followed first: all processes must agree on what lies beside the file.
    pub(crate) fn resolve(path: &Path) -> Outcome<Self> {
        let failed = |error| {
            Failure::io(format_args!("the directory of `{}` cannot be used", path.display()), error)
        };
        let db = match path.canonicalize() {
            Ok(db) => db,
            Err(_) => {
                let parent = match path.parent() {
                    Some(parent) if parent != Path::new("") => parent,
                    _ => Path::new("."),
                };
                let name = path.file_name().unwrap_or_default();
                parent.canonicalize().map_err(failed)?.join(name)
            }
        };
        let beside = |suffix: &str| {
            let mut name = OsString::from(db.as_os_str());
            name.push(suffix);
            PathBuf::from(name)
        };
        Ok(Self {
            wal: beside("-wal"),
            shm: beside("-shm"),
            lock: beside("-lock"),
            nodes: beside("-nodes"),
            db,
        })
    }
}
