//! The contract between Tavern and its cross-process backends.
//!
//! A namespace is one totally ordered [log](Entry) kept in an engine. A backend offers *push* (the
//! [`Feed`]) and *read* ([`Page`]s of history); contiguity, repair and resume are built on that
//! once, in `tavern-broker`.
//!
//! There are two contracts: the narrow trait [`Backend`] for who writes a backend, and the handle
//! [`Bus`] for who calls one.

mod backend;
mod bus;
mod entry;
mod envelope;
mod error;
mod feed;
mod filter;
mod health;
mod history;
mod lineage;
mod memory;
mod name;
mod number;
mod payload;
mod position;
mod retention;
mod tasks;
pub mod wire;

pub use backend::{Append, Backend, BackendInfo, Published, Rejection};
pub use bus::{BackendStats, Bus, BusFeed, Missed, Received, Subscription};
pub use entry::{Entry, Lane, LogTime, Origin, Publication, Record};
pub use envelope::MessageEnvelope;
pub use error::{Cause, Error, Invalid, Result};
pub use feed::{Feed, FeedEvent, LiveMessage};
pub use filter::{FilterSet, TopicFilter};
pub use health::{Health, HealthCell, HealthWatch};
pub use history::{Floor, Head, Page, ReadQuery};
pub use lineage::{Fork, Lineage, Place};
pub use memory::{Cable, MemoryBackend, MemoryConfig, MemoryEngine};
pub use name::{EventName, MAX_NAME, MessageId, Scope, Topic};
pub use number::{Epoch, NodeId};
pub use payload::Payload;
pub use position::{Cursor, LastEventId, Position};
pub use retention::{Keep, Retention, Rule};
pub use tasks::Tasks;
