//! Which life of the file an append talks to.

use crate::place::FileId;

/// The identity of the file and of the system's boot.
///
/// If it is not the one in the log's metadata, the file is a copy, or the system was started anew
/// and may have lost the last moments: the append opens a new epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incarnation(String);

impl Incarnation {
    pub(crate) fn new(file: FileId, boot: &Boot) -> Self {
        Self(format!("{:x}:{:x}:{}", file.dev, file.ino, boot.0))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The identity of the system's boot; empty where the system does not tell.
#[derive(Debug, Clone)]
pub(crate) struct Boot(String);

impl Boot {
    pub(crate) fn read() -> Self {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self(id.trim().to_owned())
    }
}
