//! Which life of the file an append talks to.

use crate::place::FileId;

/// The identity of the file and of the system's boot, and when the file was created, where the
/// file system tells: the number of a file that was removed is soon given to another.
///
/// If it is not the one in the log's metadata, the file is a copy, or the system was started anew
/// and may have lost the last moments: the append opens a new epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incarnation(String);

impl Incarnation {
    pub(crate) fn new(file: FileId, boot: &Boot) -> Self {
        let mut text = format!("{:x}:{:x}:{}", file.dev, file.ino, boot.0);
        if let Some(birth) = file.birth {
            text.push_str(&format!(":{birth:x}"));
        }
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the one that was stored. A birth that only one of the two knows of proves
    /// nothing.
    pub(crate) fn is(&self, stored: &str) -> bool {
        let ((life, birth), (stored_life, stored_birth)) = (split(&self.0), split(stored));
        let known = birth.zip(stored_birth);
        life == stored_life && known.is_none_or(|(birth, stored)| birth == stored)
    }

    /// Adds to what is stored of the same life what was not known when it was.
    pub(crate) fn complete(&self, stored: &mut String) {
        if split(stored).1.is_none() {
            stored.clone_from(&self.0);
        }
    }
}

/// File and boot, and the birth behind them.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.match_indices(':').nth(2) {
        Some((at, _)) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
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

#[cfg(test)]
mod tests;
