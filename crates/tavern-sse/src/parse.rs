//! From bytes to items, after [WHATWG HTML, 9.2.6 "Interpreting an event stream"][spec].
//!
//! [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

use std::iter::FusedIterator;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;

use crate::config::{IdWithoutData, ParserConfig};
use crate::item::{Block, Item};
use crate::lines::line_end;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Reads one event stream, pushed in chunks that may end anywhere.
///
/// Any bytes are an event stream, so input cannot be wrong: unknown fields are passed over, and
/// what is not UTF-8 is replaced by U+FFFD. The one error is a limit.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    config: ParserConfig,
    last_event_id: Arc<str>,
    /// The id of an earlier block without data, under [`IdWithoutData::Defer`].
    deferred_id: Option<Arc<str>>,
    stream: Stream,
}

/// What is forgotten when the connection ends.
#[derive(Clone, Debug, Default)]
struct Stream {
    /// The part of a line that earlier chunks brought.
    line: Vec<u8>,
    /// Whether a line has been read, so that a byte order mark is no longer one.
    begun: bool,
    /// Whether a line was just ended by `\r`, so that a `\n` now belongs to that ending.
    after_cr: bool,
    failed: bool,
    // The block so far, decoded only when it is complete: three bytes that are not UTF-8 decode to
    // nine, so a limit on decoded text would be another one than that on the wire.
    id: Option<Vec<u8>>,
    event: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
}

impl Parser {
    /// Makes a parser that reads as the specification says.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a parser that reads as `config` says.
    #[must_use]
    pub fn with_config(config: ParserConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Sets the last event id to begin with, for a stream that was resumed from it.
    #[must_use]
    pub fn with_last_event_id(mut self, id: &str) -> Self {
        self.last_event_id = Arc::from(id);
        self
    }

    /// What a browser would send as `Last-Event-ID` if the connection ended now; empty if it would send none.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Whether nothing has been read of a block or a line that is not complete yet.
    ///
    /// A stream that ends while this is false was cut inside an event, which a browser discards.
    #[must_use]
    pub const fn is_between_blocks(&self) -> bool {
        let Stream { line, id, event, data, .. } = &self.stream;
        line.is_empty() && id.is_none() && event.is_none() && data.is_none()
    }

    /// Begins anew with another connection: what is incomplete is discarded, the last event id stays.
    pub fn restart(&mut self) {
        self.stream = Stream::default();
        self.deferred_id = None;
    }

    /// Reads `chunk`, as an iterator to be run to its end: what it has not reached is not read.
    pub const fn push<'a>(&'a mut self, chunk: &'a [u8]) -> Items<'a> {
        Items { parser: self, chunk, failed: false }
    }

    /// Reads from `input` up to the end of the next item; `None` once all of `input` has been read.
    ///
    /// # Errors
    ///
    /// [`ParseError::TooLarge`], and the same again at each call until [`restart`](Self::restart).
    pub fn next_item<B: Buf>(&mut self, input: &mut B) -> Result<Option<Item>, ParseError> {
        if self.stream.failed {
            return Err(self.too_large());
        }
        while input.has_remaining() {
            let chunk = input.chunk();
            if mem::take(&mut self.stream.after_cr) && chunk.first() == Some(&b'\n') {
                input.advance(1);
                continue;
            }
            let end = line_end(chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if self.stream.held() + part.len() > self.config.max_event_bytes {
                self.stream = Stream { failed: true, ..Stream::default() };
                return Err(self.too_large());
            }
            let Some(end) = end else {
                self.stream.line.extend_from_slice(part);
                input.advance(part.len());
                continue;
            };
            self.stream.after_cr = chunk[end] == b'\r';
            let item = if self.stream.line.is_empty() {
                self.read_line(part)
            } else {
                let mut line = mem::take(&mut self.stream.line);
                line.extend_from_slice(part);
                let item = self.read_line(&line);
                line.clear();
                self.stream.line = line;
                item
            };
            input.advance(end + 1);
            if item.is_some() {
                return Ok(item);
            }
        }
        Ok(None)
    }

    fn read_line(&mut self, line: &[u8]) -> Option<Item> {
        let line = if mem::replace(&mut self.stream.begun, true) {
            line
        } else {
            line.strip_prefix(BOM).unwrap_or(line)
        };
        if line.is_empty() {
            return self.end_block().map(Item::Block);
        }
        let (name, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"" => return Some(Item::Comment(decode(value.to_vec()))),
            b"data" => match &mut self.stream.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                none => *none = Some(value.to_vec()),
            },
            b"event" => self.stream.event = Some(value.to_vec()),
            b"id" if !value.contains(&0) => self.stream.id = Some(value.to_vec()),
            b"retry" => return retry(value).map(Item::Retry),
            _ => {}
        }
        None
    }

    fn end_block(&mut self) -> Option<Block> {
        let id = self.stream.id.take().map(|id| Arc::<str>::from(decode(id)));
        let event = self.stream.event.take().map(decode);
        let data = self.stream.data.take().map(decode);
        if id.is_none() && event.is_none() && data.is_none() {
            return None;
        }
        let applied = match self.config.id_without_data {
            IdWithoutData::Apply => id.clone(),
            IdWithoutData::Drop => id.clone().filter(|_| data.is_some()),
            IdWithoutData::Defer => {
                let waiting = id.clone().or_else(|| self.deferred_id.take());
                if data.is_some() {
                    self.deferred_id = None;
                    waiting
                } else {
                    self.deferred_id = waiting;
                    None
                }
            }
        };
        if let Some(id) = applied {
            self.last_event_id = id;
        }
        Some(Block { id, event, data, last_event_id: Arc::clone(&self.last_event_id) })
    }

    const fn too_large(&self) -> ParseError {
        ParseError::TooLarge { limit: self.config.max_event_bytes }
    }
}

impl Stream {
    fn held(&self) -> usize {
        let fields = [&self.id, &self.event, &self.data].into_iter().flatten();
        self.line.len() + fields.map(Vec::len).sum::<usize>()
    }
}

/// The items in one chunk, read as they are asked for: [`Parser::push`].
///
/// An error is the last thing it yields.
#[derive(Debug)]
#[must_use = "what the iterator has not reached is not read"]
pub struct Items<'a> {
    parser: &'a mut Parser,
    chunk: &'a [u8],
    failed: bool,
}

impl Iterator for Items<'_> {
    type Item = Result<Item, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.parser.next_item(&mut self.chunk).transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

impl FusedIterator for Items<'_> {}

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A block or a line grew over [`ParserConfig::max_event_bytes`].
    #[error("event of more than {limit} bytes")]
    TooLarge {
        /// The configured maximum.
        limit: usize,
    },
}

fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned())
}

/// Digits only, and at least one: browsers ignore an empty `retry:`.
fn retry(value: &[u8]) -> Option<Duration> {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = str::from_utf8(value).ok().filter(digits)?;
    // Of digits alone, the only error left is overflow.
    Some(Duration::from_millis(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
