//! The backend on real servers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod conformance;
mod fencing;
mod forwarder;
mod kit;
mod outages;
mod outcomes;
mod reading;
mod said;
mod stand;
mod streams;
mod topology;
