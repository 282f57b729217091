//! What a caller may choose about parsing.

/// How a [`Parser`](crate::Parser) reads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ParserConfig {
    /// The most bytes of one block, or of one line, that are kept while it is incomplete: 16 MiB by default.
    pub max_event_bytes: usize,
    /// What becomes of an id in a block without data.
    pub id_without_data: IdWithoutData,
}

impl Default for ParserConfig {
    fn default() -> Self {
        Self { max_event_bytes: 16 * 1024 * 1024, id_without_data: IdWithoutData::default() }
    }
}

impl ParserConfig {
    /// Sets [`max_event_bytes`](Self::max_event_bytes).
    #[must_use]
    pub const fn with_max_event_bytes(mut self, bytes: usize) -> Self {
        self.max_event_bytes = bytes;
        self
    }

    /// Sets [`id_without_data`](Self::id_without_data).
    #[must_use]
    pub const fn with_id_without_data(mut self, rule: IdWithoutData) -> Self {
        self.id_without_data = rule;
        self
    }
}

/// What becomes of an id in a block without data, on which browsers disagree.
///
/// It decides what [`Parser::last_event_id`](crate::Parser::last_event_id) says; [`Block::id`](crate::Block::id) is the truth on the wire in each case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdWithoutData {
    /// It becomes the last event id: the specification, and Chromium.
    #[default]
    Apply,
    /// It is dropped with its block, as Firefox does.
    Drop,
    /// It waits for the next block with data, as in WebKit, and is lost if the stream ends before.
    Defer,
}
