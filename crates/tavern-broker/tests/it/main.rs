//! The broker over the memory backend.

#![allow(clippy::unwrap_used, reason = "tests")]

mod bridging;
mod crossing;
mod crowd;
mod delivering;
mod faulty;
mod forking;
mod gaps;
mod hanging;
mod hooks;
mod kit;
mod promises;
mod publishing;
mod random;
mod resuming;
mod snapshots;
mod stalling;
