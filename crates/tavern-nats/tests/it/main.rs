//! The backend on real servers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod conformance;
mod consumers;
mod faults;
mod fencing;
mod forged;
mod forwarder;
mod greeting;
mod kit;
mod outages;
mod outcomes;
mod reading;
mod retention;
mod stand;
mod streams;
mod topology;
mod unread;
mod widened;
