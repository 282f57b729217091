//! From fields to bytes.

use std::ops::Range;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::field::FieldValue;
use crate::lines;

/// The fields of one event, written in the order `retry`, `id`, `event`, `data` and ended by a blank line.
///
/// The format has these four fields and no more, so the struct is open: build it with a literal
/// and `..Frame::default()`. With no field set it encodes to a blank line, which clients ignore.
///
/// A browser dispatches only frames that have `data`, be it empty, and not every browser
/// applies the id of a frame without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the client shall send as `Last-Event-ID` when it returns.
    pub id: Option<FieldValue<'a>>,
    /// The event's type; without one, a browser takes it for a `message`.
    pub event: Option<FieldValue<'a>>,
    /// The payload: one `data:` line for each of its lines, and one for an empty payload.
    pub data: Option<&'a str>,
    /// How long the client shall wait before it reconnects: in whole milliseconds, the rest is cut off.
    pub retry: Option<Duration>,
}

/// A frame as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The whole frame, blank line included.
    pub bytes: Bytes,
    /// Where in `bytes` the payload lies, if it is a single line and so lies there in one piece.
    pub data: Option<Range<usize>>,
}

impl Encoded {
    /// The payload, sharing the frame's memory; `None` if there is none or if it has several lines.
    #[must_use]
    pub fn payload(&self) -> Option<Bytes> {
        self.data.clone().map(|range| self.bytes.slice(range))
    }
}

impl Frame<'_> {
    /// Encodes the frame, in one allocation of the exact size.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let mut buf = BytesMut::with_capacity(self.encoded_len());
        let data = self.encode_into(&mut buf);
        Encoded { bytes: buf.freeze(), data }
    }

    /// Appends the encoded frame to `buf` and says where in `buf` a single-line payload lies.
    pub fn encode_into(&self, buf: &mut BytesMut) -> Option<Range<usize>> {
        buf.reserve(self.encoded_len());
        if let Some(retry) = self.retry {
            put_line(buf, "retry", &millis(retry).to_string());
        }
        if let Some(id) = self.id {
            put_line(buf, "id", id.as_str());
        }
        if let Some(event) = self.event {
            put_line(buf, "event", event.as_str());
        }
        let mut place = None;
        for (n, line) in self.data.into_iter().flat_map(lines::split).enumerate() {
            let range = put_line(buf, "data", line);
            place = (n == 0).then_some(range);
        }
        buf.put_u8(b'\n');
        place
    }

    /// How many bytes the encoded frame has.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let retry = self.retry.map_or(0, |retry| line_len("retry", digits(millis(retry))));
        let id = self.id.map_or(0, |id| line_len("id", id.as_str().len()));
        let event = self.event.map_or(0, |event| line_len("event", event.as_str().len()));
        let data = self.data.into_iter().flat_map(lines::split);
        let data: usize = data.map(|line| line_len("data", line.len())).sum();
        retry + id + event + data + 1
    }
}

/// Encodes a comment: what clients ignore and proxies take for a sign of life.
///
/// Each line of `text` becomes a comment line of its own.
#[must_use]
pub fn comment(text: &str) -> Bytes {
    let len: usize = lines::split(text).map(|line| line_len("", line.len())).sum();
    let mut buf = BytesMut::with_capacity(len + 1);
    for line in lines::split(text) {
        put_line(&mut buf, "", line);
    }
    buf.put_u8(b'\n');
    buf.freeze()
}

/// Encodes a block that only sets how long the client waits before it reconnects, in whole milliseconds.
#[must_use]
pub fn retry(after: Duration) -> Bytes {
    Frame { retry: Some(after), ..Frame::default() }.encode().bytes
}

/// Writes one line and says where its value lies.
fn put_line(buf: &mut BytesMut, name: &str, value: &str) -> Range<usize> {
    buf.put_slice(name.as_bytes());
    // A parser takes one space after the colon away. Written always, it keeps those of the value.
    buf.put_slice(b": ");
    let start = buf.len();
    buf.put_slice(value.as_bytes());
    let end = buf.len();
    buf.put_u8(b'\n');
    start..end
}

const fn line_len(name: &str, value: usize) -> usize {
    name.len() + ": ".len() + value + "\n".len()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests;
