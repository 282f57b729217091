//! The backend on real files, and on real processes where it matters.
#![allow(clippy::unwrap_used, reason = "tests")]

mod basics;
mod child;
mod conformance;
mod file;
mod files;
mod kit;
mod processes;
mod trim;
