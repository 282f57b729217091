//! The suite against the memory backend, and against backends broken on purpose.
#![allow(clippy::unwrap_used, reason = "tests")]

mod broken;
mod engine;
mod memory;
#[cfg(feature = "sim")]
mod simulation;
