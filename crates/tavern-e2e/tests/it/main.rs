//! Tavern from outside: real browsers against real hubs, and the shape of the workspace.

#![allow(clippy::unwrap_used, reason = "tests")]

mod browser;
mod collector;
mod graph;
mod hub;
mod patience;
