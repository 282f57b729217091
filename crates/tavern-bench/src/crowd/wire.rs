//! The bytes of an answer, out of their chunks.

use tavern_sse::Parser;

use crate::run::Result;

/// An answer to `GET /events`: its head, and a body in chunks.
#[derive(Debug, Default)]
pub(super) struct Answer {
    head: Vec<u8>,
    place: Place,
    pub(super) parser: Parser,
}

#[derive(Debug, Default, Clone, Copy)]
enum Place {
    #[default]
    Head,
    /// In a line that says how long the chunk is.
    Size(usize),
    Chunk(usize),
    /// Behind a chunk: so many bytes of a line end are to come.
    End(usize),
}

impl Answer {
    /// Takes what came; the body's bytes go to the parser, whose items `each` gets.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(tavern_sse::Item) -> Result<()>,
    ) -> Result<()> {
        while !bytes.is_empty() {
            match self.place {
                Place::Head => {
                    self.head.push(bytes[0]);
                    bytes = &bytes[1..];
                    if self.head.ends_with(b"\r\n\r\n") {
                        let head = String::from_utf8_lossy(&self.head);
                        if !head.starts_with("HTTP/1.1 200") {
                            return Err(format!("answered with {head}").into());
                        }
                        if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
                            return Err("sent away: it has no room, or is closing".into());
                        }
                        self.head = Vec::new();
                        self.place = Place::Size(0);
                    }
                }
                Place::Size(size) => {
                    let digit = char::from(bytes[0]).to_digit(16);
                    self.place = match (bytes[0], digit) {
                        (_, Some(digit)) => Place::Size(size * 16 + usize::try_from(digit)?),
                        (b'\n', None) if size == 0 => return Err("the stream ended".into()),
                        (b'\n', None) => Place::Chunk(size),
                        _ => Place::Size(size),
                    };
                    bytes = &bytes[1..];
                }
                Place::Chunk(left) => {
                    let (chunk, rest) = bytes.split_at(left.min(bytes.len()));
                    for item in self.parser.push(chunk) {
                        each(item?)?;
                    }
                    self.place = match left - chunk.len() {
                        0 => Place::End(2),
                        left => Place::Chunk(left),
                    };
                    bytes = rest;
                }
                Place::End(left) => {
                    self.place = if left == 1 { Place::Size(0) } else { Place::End(left - 1) };
                    bytes = &bytes[1..];
                }
            }
        }
        Ok(())
    }
}
