//! The backend on real files, and on real processes where it matters.
#![allow(clippy::unwrap_used, reason = "tests")]

mod alone;
mod basics;
mod births;
mod child;
mod conformance;
mod disk;
mod file;
mod kit;
mod power;
mod processes;
mod recovery;
mod trim;
