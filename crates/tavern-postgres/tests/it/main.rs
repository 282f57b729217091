//! The backend on real servers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod bloat;
mod clock;
mod conformance;
mod crowd;
mod disk;
mod encoding;
mod epochs;
mod faults;
mod held;
mod idle;
mod kit;
mod migrating;
mod pooled;
mod relay;
mod servers;
mod stand;
mod stuck;
mod suite;
mod sweeping;
mod traps;
mod unread;
