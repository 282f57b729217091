//! Where something stands in the log, and the token a client brings back.

use std::fmt;
use std::str::FromStr;

use crate::{Epoch, Invalid, MessageId};

/// A place in the log: after the entry `seq` of `epoch`. `seq` 0 is the place before the first entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The life of the log that `seq` counts in.
    pub epoch: Epoch,
    /// The entry's number: dense, +1 per entry of the namespace.
    pub seq: u64,
}

impl Position {
    /// A position from its parts.
    #[must_use]
    pub const fn new(epoch: Epoch, seq: u64) -> Self {
        Self { epoch, seq }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Position {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("position", "`<epoch>-<seq>` is expected");
        let (epoch, seq) = text.split_once('-').ok_or_else(invalid)?;
        // One text per position: no sign, no leading zero, so that equal cursors are equal bytes.
        let canonical =
            seq.bytes().all(|b| b.is_ascii_digit()) && (seq == "0" || !seq.starts_with('0'));
        let seq = seq.parse().ok().filter(|_| canonical).ok_or_else(invalid)?;
        Ok(Self { epoch: epoch.parse()?, seq })
    }
}

/// A [`Position`] as a client carries it: behind the version character `1`, opaque to the client.
///
/// It reveals how many entries a namespace holds; put namespaces whose volume is a secret apart.
///
/// ```
/// use tavern_backend::{Cursor, Epoch, Position};
///
/// let cursor = Cursor(Position::new(Epoch::from_u64(7), 42));
/// assert_eq!(cursor.to_string(), "10000000000007-42");
/// assert_eq!("10000000000007-42".parse(), Ok(cursor));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor(pub Position);

/// The version character in front of every cursor.
const VERSION: char = '1';

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}{}", self.0)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cursor {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let position = text.strip_prefix(VERSION).ok_or_else(|| {
            Invalid::new("cursor", "it does not begin with a version this node knows")
        })?;
        position.parse().map(Self)
    }
}

impl From<Position> for Cursor {
    fn from(position: Position) -> Self {
        Self(position)
    }
}

/// What a client sent as its `Last-Event-ID`, read as raw bytes.
///
/// Ids that Tavern sends are `<cursor>` or `<cursor>~<publisher's id>`; only the cursor in front
/// counts, so that no publisher can forge a position by choosing an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastEventId {
    /// It has a valid cursor in front.
    Cursor(Cursor),
    /// It has none, and may be an id that a publisher gave.
    Publisher(MessageId),
    /// It is neither: not UTF-8, too long, or with a line break in it.
    Unusable(Vec<u8>),
}

impl LastEventId {
    /// Reads the bytes of a header or query parameter; `None` if empty, as a browser means it.
    #[must_use]
    pub fn parse(bytes: impl AsRef<[u8]>) -> Option<Self> {
        let bytes = bytes.as_ref();
        if bytes.is_empty() {
            return None;
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Some(Self::Unusable(bytes.to_vec()));
        };
        let front = text.split_once('~').map_or(text, |(front, _)| front);
        if let Ok(cursor) = front.parse() {
            return Some(Self::Cursor(cursor));
        }
        Some(match MessageId::new(text) {
            Ok(id) => Self::Publisher(id),
            Err(_) => Self::Unusable(bytes.to_vec()),
        })
    }
}

impl fmt::Display for LastEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cursor(cursor) => cursor.fmt(f),
            Self::Publisher(id) => id.fmt(f),
            Self::Unusable(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
        }
    }
}

impl From<Cursor> for LastEventId {
    fn from(cursor: Cursor) -> Self {
        Self::Cursor(cursor)
    }
}

#[cfg(test)]
mod tests;
