#![allow(clippy::unwrap_used, reason = "tests")]
//! The contract and the memory backend, from outside.

mod contract;
mod fixture;
mod memory_feed;
mod memory_log;
mod memory_model;
mod memory_outcomes;
mod memory_rewind;
mod probe;
mod subscription;
