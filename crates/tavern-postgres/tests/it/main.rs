//! The backend on real servers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod bloat;
mod conformance;
mod faults;
mod kit;
mod migrating;
mod pooled;
mod stand;
mod suite;
mod traps;
