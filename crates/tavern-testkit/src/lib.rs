//! Tavern's kit for testing.

mod cable;
mod faulty;
mod rig;
mod stage;
pub mod wait;

pub use cable::{Cable, Cabled, Calls};
pub use faulty::Fault;
pub use rig::Rig;
pub use stage::{Node, Stage};
