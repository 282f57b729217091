#![allow(clippy::unwrap_used, reason = "tests")]
//! From a URL to a server that is there.

mod nats;
mod postgres;
