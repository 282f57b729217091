//! What a stream is made of.

use std::sync::Arc;
use std::time::Duration;

/// One thing that a stream said.
///
/// Items come in the order in which the lines that complete them were read: a `retry:` or a comment
/// inside a block comes before the block.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A block of fields and the blank line that ended it.
    Block(Block),
    /// How long to wait before reconnecting, in force at once; more than `u64` milliseconds are cut to that.
    Retry(Duration),
    /// One comment line, without its colon and one space after it.
    Comment(String),
}

/// A block with at least one of the fields `id`, `event` and `data`: the truth on the wire.
///
/// Where a field other than `data` came more than once, the last one is here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// The id seen in this block. One that holds a NUL counts as not seen.
    pub id: Option<Arc<str>>,
    /// The event name seen in this block, possibly empty.
    pub event: Option<String>,
    /// The `data` lines of this block, joined by `\n`.
    pub data: Option<String>,
    /// The last event id once this block had been read. Shared: it repeats until another id comes.
    pub last_event_id: Arc<str>,
}

impl Block {
    /// What a browser dispatches for this block: nothing if it has no data.
    #[must_use]
    pub fn message(&self) -> Option<Message<'_>> {
        let event = self.event.as_deref().filter(|name| !name.is_empty());
        self.data.as_deref().map(|data| Message {
            event: event.unwrap_or("message"),
            data,
            last_event_id: &self.last_event_id,
        })
    }
}

/// The `MessageEvent` a browser makes of a [`Block`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The event's type: `message` unless the block names another.
    pub event: &'a str,
    /// The payload, its line endings all `\n`.
    pub data: &'a str,
    /// The last event id, from this block or one before it; empty if none was seen.
    pub last_event_id: &'a str,
}
