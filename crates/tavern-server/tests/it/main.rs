#![allow(clippy::unwrap_used, reason = "tests")]
//! The program `tavern`, as real processes.

mod chaos;
mod client;
mod cluster;
mod deaf;
mod demo;
mod drops;
mod kit;
mod nats;
mod postgres;
mod refusals;
mod retention;
mod settings;
mod signals;
mod soak;
mod start;
