//! The backend on real servers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod conformance;
mod durability;
mod faults;
mod fencing;
mod forwarder;
mod keys;
mod kit;
mod outages;
mod pair;
mod resubscribing;
mod stand;
mod sweeping;
mod topology;
mod unread;
mod valkey;
