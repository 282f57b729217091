//! The backend on real servers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod conformance;
mod faults;
mod forwarder;
mod kit;
mod outages;
mod stand;
mod topology;
