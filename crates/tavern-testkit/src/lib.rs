//! Tavern's kit for testing: what a backend must pass, and what it takes to try everything above it.
//!
//! # A backend's conformance
//!
//! Write a [`Rig`] for the engine, and put one line into an integration test:
//!
//! ```no_run
//! # mod example {
//! # use tavern_testkit::MemoryRig as MyRig;
//! tavern_testkit::conformance!(MyRig::new());
//! # }
//! ```
//!
//! It becomes one test for each of the [`cases`], named after the promise it holds the backend to.
//! They play on a [`Stage`]: nodes on one shared log, each behind a [`Cable`] that cuts, loses,
//! repeats, shuffles and delays. Half of them look at the backend alone, half at brokers over it.
//! That they notice something is proved with backends broken on purpose: [`Fault`].
//!
//! # Real processes
//!
//! An [`engine`] is the server that a backend talks to, to be killed, paused and put back to an
//! older state. A [`Hub`] is a `tavern` process to be killed and started again, an [`SseRecorder`] a
//! client over HTTP that drops and resumes anywhere, an [`SseStream`] one that is only read, an
//! [`Oracle`] the judge of what it recorded, and a [`Soak`](soak::Soak) all of them together.
//!
//! A [`Proxy`](proxy::Proxy) between hub and engine does what networks do. [`Chaos`](chaos::Chaos)
//! does it at random, and kills and stops what there is; a [`Ledger`] knows what was published with
//! which outcome, and accepts a client's [`Record`] only if it is complete or a gap in place says
//! what is missing. All three know nothing of Tavern's own backends and may serve those of others.

mod cable;
pub mod cases;
pub mod chaos;
mod client;
mod conformance;
pub mod drops;
pub mod engine;
mod faulty;
mod hub;
mod listener;
mod memory;
mod oracle;
mod process;
pub mod proxy;
mod recorder;
mod rig;
mod said;
pub mod say;
#[cfg(feature = "sim")]
pub mod sim;
pub mod soak;
mod stage;
mod stream;
mod survival;
pub mod wait;

pub use cable::{Cable, Cabled, Calls};
pub use client::{Client, Replay, publish, publish_all};
pub use conformance::play;
pub use faulty::Fault;
pub use hub::Hub;
pub use listener::Listener;
pub use memory::MemoryRig;
pub use oracle::{Answer, Ledger, Oracle, Record, Verdict};
pub use recorder::{Event, SseRecorder};
pub use rig::Rig;
pub use said::Said;
pub use stage::{Node, Stage};
pub use stream::SseStream;
pub use survival::a_stream_survives;
