//! A deterministic simulation of brokers over one log: virtual time, and one seed that decides all.
//!
//! ```text
//!   clients ── move, stall, resume ──► brokers (2 to 4, real code)
//!   publishers ──────────────────────►    │ calls         ▲ pushes
//!                                         ▼               │
//!        ways that lose, repeat, shuffle, delay, cut, go deaf, lose answers, hang
//!                                         │               │
//!                                     the engine: a log with a volatile end
//!   the oracle ◄── everything ever appended, and all that clients and publishers were told
//! ```
//!
//! A [`Run`] plays one seed, in about ten milliseconds for a virtual minute. Nodes are killed, closed
//! and started; the engine crashes, fails over, loses its end or is replaced; the log trims, expires
//! and forgets; its clock jumps; two versions write and read. At the end all is mended, everybody
//! reads to the end of the log, and the oracle accepts only this: what a client wanted came complete,
//! in order, once, within its scope and unexpired — or a gap event, in place, covers what is missing
//! and says a reason that is true. What publishers were told must be true of the log.
//!
//! ```
//! # use tavern_testkit::sim::Run;
//! let report = Run::new(7).play();
//! assert!(report.wrong.is_empty(), "{report}");
//! assert_eq!(Run::new(7).play().hash, report.hash, "the same seed is the same run");
//! ```
//!
//! # The same way twice
//!
//! Everything happens on one thread whose tokio clock is paused. What is left to chance there is
//! given an order: in the broker each `select!` is `biased`; who waits for a `tokio::sync::watch`
//! waits alone, as its wake-ups have no order; clients and publishers are polled by one task, in turn;
//! what spreads load is drawn from the thread's own generator, which the seed sets.
//!
//! # For another backend
//!
//! An engine of its own cannot be simulated, but what is believed of it can: put a layer between the
//! simulated engine and the brokers with [`Run::through`], one that batches, caches, retries or
//! splits as the driver does, and see whether a seed is found that it fails on.

mod archive;
mod backend;
mod client;
mod engine;
mod log;
mod oracle;
mod plan;
mod publishing;
mod run;
mod trace;
mod trouble;
mod version;
mod weather;
mod world;

pub use run::{Report, Run};
