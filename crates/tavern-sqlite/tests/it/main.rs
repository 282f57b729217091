//! The backend on real files, and on real processes where it matters.
#![allow(clippy::unwrap_used, reason = "tests")]

mod basics;
mod child;
mod conformance;
mod file;
mod kit;
mod processes;
mod recovery;
mod trim;
