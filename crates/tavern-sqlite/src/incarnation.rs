//! Which life of the file an append talks to.

use crate::config::Durability;
use crate::place::FileId;

/// The identity of the file and of the system's boot, and when the file was created, where the
/// file system tells: the number of a file that was removed is soon given to another.
///
/// If it is not the one in the log's metadata, the file is a copy, or the system was started anew
/// and may have lost the last moments: the append opens a new epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incarnation {
    text: String,
    durability: Durability,
}

/// Behind a life in which some commits were not on the disk when they were answered.
const LOSES: char = '~';

impl Incarnation {
    pub(crate) fn new(file: FileId, boot: &Boot, durability: Durability) -> Self {
        let mut text = format!("{:x}:{:x}:{}", file.dev, file.ino, boot.0);
        if let Some(birth) = file.birth {
            text.push_str(&format!(":{birth:x}"));
        }
        if durability == Durability::Normal {
            text.push(LOSES);
        }
        Self { text, durability }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is the one that was stored. A birth that only one of the two knows of proves
    /// nothing.
    pub(crate) fn is(&self, stored: &str) -> bool {
        let ((life, birth), (stored_life, stored_birth)) = (split(&self.text), split(stored));
        let known = birth.zip(stored_birth);
        life == stored_life && known.is_none_or(|(birth, stored)| birth == stored)
    }

    /// Whether the system was started anew since, and may have lost what was not on the disk:
    /// nothing tells how much that was, nor that it was nothing. The mark itself may be among it.
    pub(crate) fn may_have_lost(&self, stored: &str) -> bool {
        let lossy = self.durability == Durability::Normal || stored.ends_with(LOSES);
        lossy && boot(&self.text) != boot(stored)
    }

    /// Adds to what is stored of the same life what was not known when it was.
    pub(crate) fn complete(&self, stored: &mut String) {
        let lossy = self.text.ends_with(LOSES) || stored.ends_with(LOSES);
        if split(stored).1.is_none() {
            stored.clone_from(&self.text);
        }
        if lossy && !stored.ends_with(LOSES) {
            stored.push(LOSES);
        }
    }
}

/// File and boot, and the birth behind them.
fn split(text: &str) -> (&str, Option<&str>) {
    let text = text.trim_end_matches(LOSES);
    match text.match_indices(':').nth(2) {
        Some((at, _)) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn boot(text: &str) -> &str {
    split(text).0.rsplit(':').next().unwrap_or_default()
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
