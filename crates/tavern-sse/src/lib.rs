//! The Server-Sent Events format, without I/O: encode a frame once, parse a stream whatever its chunking.
//!
//! The crate opens no socket, spawns no task and reads no clock. It knows the format of
//! [WHATWG HTML, 9.2 "Server-sent events"][spec] and nothing else: what an id or an event name
//! *means* is for its callers.
//!
//! # Encoding
//!
//! A [`Frame`] holds up to four fields. Ids and event names are [`FieldValue`]s, checked when they
//! are made, so that encoding cannot fail; data may hold anything, since a line ending in it
//! starts another `data:` line. [`Frame::encode`] allocates once, and the [`Encoded`] frame is shared
//! between connections by reference count.
//!
//! ```
//! use tavern_sse::{FieldValue, Frame};
//!
//! let frame = Frame {
//!     id: Some(FieldValue::new("a-17")?),
//!     event: Some(FieldValue::new("order")?),
//!     data: Some("paid\nin full"),
//!     ..Frame::default()
//! };
//! assert_eq!(
//!     &frame.encode().bytes[..],
//!     b"id: a-17\nevent: order\ndata: paid\ndata: in full\n\n",
//! );
//! # Ok::<(), tavern_sse::InvalidField>(())
//! ```
//!
//! # Parsing
//!
//! A [`Parser`] takes the bytes of one stream in any chunks and yields each [`Item`] as soon as the
//! line that completes it has arrived. It says both what was on the wire ([`Block`]) and what
//! a browser would have made of it ([`Block::message`], [`Parser::last_event_id`]).
//!
//! ```
//! use tavern_sse::{Item, Parser};
//!
//! let mut parser = Parser::new();
//! let mut seen = Vec::new();
//! for chunk in ["id: a-17\nda", "ta: paid\n", "\n: still here\n"] {
//!     for item in parser.push(chunk.as_bytes()) {
//!         match item? {
//!             Item::Block(block) => seen.extend(block.message().map(|m| m.data.to_owned())),
//!             Item::Comment(text) => seen.push(text),
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(seen, ["paid", "still here"]);
//! assert_eq!(parser.last_event_id(), "a-17");
//! # Ok::<(), tavern_sse::ParseError>(())
//! ```
//!
//! # What survives the trip
//!
//! Parsing what was encoded gives back every field, with one difference that the format imposes: it
//! cannot tell line endings apart, so `\r\n` and a lone `\r` in data come back as `\n`.
//!
//! [spec]: https://html.spec.whatwg.org/multipage/server-sent-events.html

mod config;
mod encode;
mod field;
mod item;
mod lines;
mod parse;

pub use config::{IdWithoutData, ParserConfig};
pub use encode::{Encoded, Frame, comment, retry};
pub use field::{FieldValue, InvalidField};
pub use item::{Block, Item, Message};
pub use parse::{Items, ParseError, Parser};
