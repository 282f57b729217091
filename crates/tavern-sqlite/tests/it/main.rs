//! The backend on real files, and on real processes where it matters.
#![allow(clippy::unwrap_used, reason = "tests")]

mod basics;
mod conformance;
mod kit;
