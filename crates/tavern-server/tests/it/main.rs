#![allow(clippy::unwrap_used, reason = "tests")]
//! The program `tavern`, as real processes.

mod client;
mod cluster;
mod demo;
mod kit;
mod nats;
mod postgres;
mod refusals;
mod retention;
mod settings;
mod signals;
mod soak;
mod start;
