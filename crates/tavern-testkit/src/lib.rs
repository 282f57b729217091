//! Tavern's kit for testing.

mod cable;
pub mod cases;
mod client;
mod conformance;
mod faulty;
mod listener;
mod memory;
mod process;
mod rig;
pub mod say;
mod stage;
pub mod wait;

pub use cable::{Cable, Cabled, Calls};
pub use client::{Client, Replay, publish, publish_all};
pub use conformance::play;
pub use faulty::Fault;
pub use listener::Listener;
pub use memory::MemoryRig;
pub use rig::Rig;
pub use stage::{Node, Stage};
