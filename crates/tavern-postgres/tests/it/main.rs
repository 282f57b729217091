//! The backend on real servers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod bloat;
mod clock;
mod conformance;
mod disk;
mod faults;
mod held;
mod kit;
mod migrating;
mod pooled;
mod stand;
mod suite;
mod traps;
