//! What goes wrong with the file, in sentences for a person.

use std::fmt;
use std::sync::Arc;

use rusqlite::ErrorCode;
use tavern_backend::Error;

/// The crate's own error: one failure may have to be told to many callers, so it can be cloned.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) reason: Arc<str>,
    source: Option<Shared>,
}

/// What the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Another connection holds a lock: nothing was done, waiting helps.
    Locked,
    /// Nothing was done; it may pass.
    Away,
    /// A smaller transaction may still fit.
    Full,
    /// It may have been done.
    Unknown,
    /// The file is not what it should be.
    Unusable,
}

pub(crate) type Outcome<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(kind: Kind, reason: impl fmt::Display) -> Self {
        Self { kind, reason: Arc::from(reason.to_string()), source: None }
    }

    pub(crate) fn away(reason: impl fmt::Display) -> Self {
        Self::new(Kind::Away, reason)
    }

    pub(crate) fn unusable(reason: impl fmt::Display) -> Self {
        Self::new(Kind::Unusable, reason)
    }

    pub(crate) fn io(reason: impl fmt::Display, error: std::io::Error) -> Self {
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        let kind = if full { Kind::Full } else { Kind::Away };
        let reason = match advice(error.kind()) {
            Some(advice) => format!("{reason}: {advice}"),
            None => reason.to_string(),
        };
        Self { kind, reason: Arc::from(reason), source: Some(Shared(Arc::new(error))) }
    }

    /// The same failure of a COMMIT. Only an error of the disk leaves open whether the commit
    /// record was written: it may come to life in the recovery after a crash.
    pub(crate) fn of_commit(self) -> Self {
        match self.kind {
            Kind::Away => Self { kind: Kind::Unknown, ..self },
            Kind::Locked | Kind::Full | Kind::Unknown | Kind::Unusable => self,
        }
    }

    pub(crate) fn is_locked(&self) -> bool {
        self.kind == Kind::Locked
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let (kind, reason) = match &error {
            rusqlite::Error::SqliteFailure(cause, _) => explain(cause.code, cause.extended_code),
            // A value of another type than the schema says, or a row that must be there and is not.
            _ => (Kind::Unusable, DAMAGED),
        };
        Self { kind, reason: Arc::from(reason), source: Some(Shared(Arc::new(error))) }
    }
}

const DAMAGED: &str =
    "the database file is damaged or is not one of Tavern's; restore it from a backup or remove it";

const UNWRITABLE: &str = "the database file cannot be written: its disk fails, or its file system \
    became read-only (see the system's log); make it writable again, publishing then goes on by itself";

/// What a person can do about an error of the system.
fn advice(kind: std::io::ErrorKind) -> Option<&'static str> {
    match kind {
        std::io::ErrorKind::ReadOnlyFilesystem => {
            Some("the file system is read-only; mount it writable")
        }
        std::io::ErrorKind::PermissionDenied => Some(
            "this process may not write there; check the owner and the mode of the directory and \
             of the files in it",
        ),
        std::io::ErrorKind::StorageFull => Some("the disk is full; make room"),
        _ => None,
    }
}

fn explain(code: ErrorCode, extended: i32) -> (Kind, &'static str) {
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            (Kind::Locked, "another program holds the database file locked")
        }
        ErrorCode::DiskFull => (
            Kind::Full,
            "the disk of the database file is full; make room, publishing then goes on by itself",
        ),
        ErrorCode::TooBig => (Kind::Full, "the message is too large for SQLite"),
        ErrorCode::ReadOnly => (
            Kind::Away,
            "the database file or its directory cannot be written to; check owner, mode, and \
             whether the file system is mounted read-only",
        ),
        ErrorCode::CannotOpen => (
            Kind::Away,
            "the database file cannot be opened; check that its directory exists and who may write there",
        ),
        ErrorCode::PermissionDenied => (Kind::Away, "access to the database file is denied"),
        ErrorCode::NotADatabase => {
            (Kind::Unusable, "the file is not a SQLite database; give another path, or remove it")
        }
        ErrorCode::DatabaseCorrupt => (Kind::Unusable, DAMAGED),
        ErrorCode::FileLockingProtocolFailed | ErrorCode::NoLargeFileSupport => {
            (Kind::Away, "the file system does not offer the locks that SQLite needs")
        }
        ErrorCode::OutOfMemory => (Kind::Away, "the system is out of memory"),
        ErrorCode::SystemIoFailure if is_write(extended) => (Kind::Away, UNWRITABLE),
        ErrorCode::SystemIoFailure => (
            Kind::Away,
            "the database file cannot be read: see the system's log, the disk may fail",
        ),
        _ => (Kind::Away, "SQLite refused the statement"),
    }
}

/// Whether an error of the disk was one of writing.
fn is_write(extended: i32) -> bool {
    use rusqlite::ffi;
    matches!(
        extended,
        ffi::SQLITE_IOERR_WRITE
            | ffi::SQLITE_IOERR_FSYNC
            | ffi::SQLITE_IOERR_DIR_FSYNC
            | ffi::SQLITE_IOERR_TRUNCATE
            | ffi::SQLITE_IOERR_DELETE
            | ffi::SQLITE_IOERR_SHMOPEN
            | ffi::SQLITE_IOERR_SHMSIZE
    )
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let reason = failure.reason.to_string();
        match (failure.kind, failure.source) {
            (Kind::Unusable, Some(source)) => {
                Self::incompatible(format_args!("{reason} ({source})"))
            }
            (Kind::Unusable, None) => Self::incompatible(reason),
            (Kind::Unknown, Some(source)) => Self::outcome_unknown_from(reason, source),
            (Kind::Unknown, None) => Self::outcome_unknown(reason),
            (Kind::Locked | Kind::Away | Kind::Full, Some(source)) => {
                Self::unavailable_from(reason, source)
            }
            (Kind::Locked | Kind::Away | Kind::Full, None) => Self::unavailable(reason),
        }
    }
}

/// A cause that several callers are told of.
#[derive(Debug, Clone)]
struct Shared(Arc<dyn std::error::Error + Send + Sync>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
