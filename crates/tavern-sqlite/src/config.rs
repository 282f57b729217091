//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

use tavern_backend::{Error, Result, Retention};

/// What an accepted message survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// `synchronous=FULL`: the commit is on the disk before `Stored` is said. Survives a crash of
    /// the process, of the system, and a power cut.
    #[default]
    Full,
    /// `synchronous=NORMAL`: the commit is with the operating system. Survives the end of any
    /// process, kill -9 included; a power cut or a crash of the system may take the last moments.
    /// Nothing tells whether it did, so clients are told of a gap after every start of the system.
    Normal,
}

impl Durability {
    pub(crate) fn explain(self) -> &'static str {
        match self {
            Self::Full => {
                "on the disk (synchronous=FULL): survives kill -9, a system crash and a power cut"
            }
            Self::Normal => {
                "with the operating system (synchronous=NORMAL): survives kill -9 of any process; \
                 a power cut may take the last moments, and every start of the system is told as a \
                 gap"
            }
        }
    }

    pub(crate) fn pragma(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

/// How a [`SqliteBackend`](crate::SqliteBackend) is set up.
///
/// ```
/// use tavern_sqlite::{Durability, SqliteConfig};
///
/// let config = SqliteConfig::new("tavern.db").with_durability(Durability::Normal);
/// assert_eq!(config.namespace, "default");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqliteConfig {
    /// The database file. Beside it lie SQLite's own `-wal` and `-shm`, the writers' `-lock`, and
    /// the directory `-nodes` with the doorbells.
    pub path: PathBuf,
    /// The one namespace that the file holds. Opening a file that holds another one is refused.
    pub namespace: String,
    /// The retention rules of a log that is created; `None` for the defaults. A log that exists
    /// has its own, which win: see [`SqliteBackend::retention_mismatch`](crate::SqliteBackend::retention_mismatch).
    pub retention: Option<Retention>,
    /// Writes [`SqliteConfig::retention`] into a log whose rules differ, as their next version,
    /// for all its nodes. Off by default.
    pub apply_retention: bool,
    /// What an accepted message survives.
    pub durability: Durability,
    /// How often the file is looked at when no doorbell rings: 75 ms by default.
    pub poll_interval: Duration,
    /// How long a call waits for a lock that another process holds: 5 s by default.
    pub lock_timeout: Duration,
    /// The largest message, in bytes of data: 1 MiB by default.
    pub max_payload: usize,
    /// How long the key of a publication, and an id whose entry is gone, are remembered: 10
    /// minutes by default, 5 at least.
    pub dedup_window: Duration,
    /// After how much silence an empty lane is forgotten, its last seq kept in the horizon: a day
    /// by default.
    pub lane_memory: Duration,
}

impl SqliteConfig {
    /// The defaults, on the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            namespace: "default".to_owned(),
            retention: None,
            apply_retention: false,
            durability: Durability::default(),
            poll_interval: Duration::from_millis(75),
            lock_timeout: Duration::from_secs(5),
            max_payload: 1 << 20,
            dedup_window: Duration::from_secs(600),
            lane_memory: Duration::from_secs(24 * 3600),
        }
    }

    /// The same with another namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The same with retention rules for a new log.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// The same, writing this node's retention rules into a log whose rules differ.
    #[must_use]
    pub fn with_apply_retention(mut self, apply: bool) -> Self {
        self.apply_retention = apply;
        self
    }

    /// The same with another durability.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The same with another poll interval.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// The same with another lock timeout.
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// The same with another largest message.
    #[must_use]
    pub fn with_max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// The same with another de-duplication window.
    #[must_use]
    pub fn with_dedup_window(mut self, window: Duration) -> Self {
        self.dedup_window = window;
        self
    }

    /// The same with another time after which an empty lane is forgotten.
    #[must_use]
    pub fn with_lane_memory(mut self, memory: Duration) -> Self {
        self.lane_memory = memory;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.namespace.is_empty() || self.namespace.chars().any(char::is_control) {
            return Err(Error::config("the namespace is empty or has a control character in it"));
        }
        if self.path.file_name().is_none() {
            return Err(Error::config(format_args!("`{}` names no file", self.path.display())));
        }
        if self.max_payload == 0 || self.max_payload > MAX_PAYLOAD {
            return Err(Error::config(format_args!(
                "max_payload is {}, 1 to {MAX_PAYLOAD} are possible",
                self.max_payload
            )));
        }
        if self.dedup_window < MIN_WINDOW {
            return Err(Error::config("dedup_window must be five minutes or more"));
        }
        let milli = Duration::from_millis(1);
        if self.poll_interval < milli || self.lock_timeout < milli {
            return Err(Error::config("poll_interval and lock_timeout must be 1 ms or more"));
        }
        if self.apply_retention && self.retention.is_none() {
            return Err(Error::config("apply_retention is set, but no retention rules are given"));
        }
        Ok(())
    }
}

/// A row must fit in memory several times over.
const MAX_PAYLOAD: usize = 256 << 20;
/// The contract's least de-duplication window.
const MIN_WINDOW: Duration = Duration::from_secs(300);
