//! The embedded backend of Tavern: several processes on one machine share one SQLite file. No
//! server is needed.
//!
//! A commit gives its entries their seqs, so that seqs are dense and in commit order. Writers of
//! all processes take turns in a queue (an `flock` beside the file) and commit what has gathered
//! meanwhile as one. After a commit every node's doorbell rings; a poll stands behind it, so that a
//! lost ring costs milliseconds and nothing else.
//!
//! **Under stress.** A process may be killed at any moment: what was answered `Stored` is in the
//! log, and the kernel ends its locks. A process that is stopped while it holds the writers' lock
//! makes the others' publishes fail with
//! [`Error::Unavailable`](tavern_backend::Error::Unavailable) after the lock timeout, until it goes
//! on; closing a node meanwhile says that its writer still waits, which ends with the lock. A disk
//! that is full or a file that cannot be written does the same; the node looks every now and then
//! and says when it has passed. Reading goes on meanwhile.
//!
//! **Another file.** If the file is removed and does not come back within two seconds, the nodes
//! that are open begin a new log, whether or not anybody publishes; if it is replaced or restored
//! from a backup, the next append opens a new epoch. Clients are told what they missed either way.
//! Replace it by moving another file to its place, or while no node runs: copying over a database
//! that is open damages it, as with every program that uses SQLite.
//!
//! **Limits.** Unix only. Not on network file systems, which are refused. Where the path to the
//! file is longer than about 80 bytes there are no doorbells, and messages between processes
//! arrive with the next poll.

mod append;
mod backend;
mod config;
mod doorbell;
mod failure;
mod feed;
mod fence;
mod incarnation;
mod keys;
mod lanes;
mod lock;
mod log;
mod network;
mod number;
mod page;
mod place;
mod reader;
mod rows;
mod schema;
mod shared;
mod state;
mod threads;
mod trim;
mod vitals;
mod writer;

pub use backend::SqliteBackend;
pub use config::{Durability, SqliteConfig};
