//! What hyper refuses by itself, explained: hyper answers what it cannot read as a request with a
//! bare status, and has no hook for the body.
//!
//! Its answer is one write of its own: a head with `connection: close` and `content-length: 0`.
//! Nothing else looks like that. The hub's own answers with these statuses have a body, and what a
//! publisher writes never leaves with a CRLF in it: SSE and JSON have other line ends.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};

/// A connection whose bare refusals leave with a body that explains them.
pub(super) struct Explained<T> {
    io: T,
    /// A refusal on its way out.
    answer: Bytes,
}

impl<T> Explained<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, answer: Bytes::new() }
    }
}

impl<T: Write + Unpin> Explained<T> {
    /// Takes `head` if it is a refusal: the explained one leaves in its place.
    fn take(&mut self, head: &[u8]) -> bool {
        let answer = explained(head);
        let taken = answer.is_some();
        self.answer = answer.unwrap_or_default();
        taken
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.answer.has_remaining() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.answer))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.answer.advance(n),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The refusal in `head` with a body, if that is what it is.
fn explained(head: &[u8]) -> Option<Bytes> {
    // The status line's first words, at little cost for all that is no refusal.
    let status = match head.strip_prefix(b"HTTP/1.")?.get(1..5)? {
        b" 400" => StatusCode::BAD_REQUEST,
        b" 414" => StatusCode::URI_TOO_LONG,
        b" 431" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => return None,
    };
    let head = str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
    let (before, after) = head.split_once("\r\ncontent-length: 0")?;
    if !(after.is_empty() || after.starts_with("\r\n")) {
        return None;
    }
    let answer = tavern::http::unreadable(status)?;
    let mut lines = format!("{before}{after}\r\ncontent-length: {}", answer.body().len());
    for (name, value) in answer.headers() {
        lines.extend(["\r\n", name.as_str(), ": ", value.to_str().ok()?]);
    }
    lines.push_str("\r\n\r\n");
    Some([lines.as_bytes(), answer.body()].concat().into())
}

impl<T: Read + Unpin> Read for Explained<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for Explained<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        match bufs {
            [only] if this.take(only) => Poll::Ready(Ok(only.len())),
            _ => Pin::new(&mut this.io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_answer(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
