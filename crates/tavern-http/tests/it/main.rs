#![allow(clippy::unwrap_used, reason = "tests")]
//! The HTTP API over real sockets, on an in-process log.

mod body;
mod cors;
mod errors;
mod kit;
mod observe;
mod publish;
mod resume;
mod stream;
