//! The broker: one node of a namespace, where subscribers are cursors over a log.
//!
//! A [`Broker`] turns a [`Bus`](tavern_backend::Bus) — a backend that pushes and reads — into
//! streams that are complete, in order and free of duplicates, or say in place what is missing. It
//! knows no transport and no HTTP.
//!
//! # What a stream says
//!
//! A [`Subscription`] yields [`Delivery`]s. It begins with the [cursor](Delivery::Cursor) it starts
//! at, or, for a client that resumes, with what the client missed, ended by
//! [`Reconnected`](Delivery::Reconnected). Where entries are missing there is a
//! [`Gap`](Delivery::Gap). While the backend is away the stream stays open.
//!
//! The application can be told of [gaps](Broker::on_gap) and of
//! [resumes](Broker::on_reconnected), too, and answer that one client.
//!
//! # Under stress
//!
//! A slow subscriber slows nobody down: it is a position in the node's ring, and continues from
//! history once the ring has moved past it. Every queue, cache and spool has a bound, see
//! [`BrokerConfig`], and a counter, see [`Counters`].

mod backoff;
mod broker;
mod clock;
mod config;
mod counters;
mod delivery;
mod encode;
mod error;
mod event;
mod extent;
mod frame;
mod heads;
mod hooks;
mod interest;
mod marker;
mod node;
mod outcome;
mod overlap;
mod pages;
mod patience;
mod publisher;
mod ring;
mod sequencer;
mod shared;
mod signal;
mod status;
mod subscription;

pub use broker::{Broker, BrokerBuilder};
pub use config::BrokerConfig;
pub use delivery::{
    Degraded, Delivery, Direct, Gap, GapReason, Message, Reconnected, Snapshot, Truncated,
};
pub use error::{Error, Result};
pub use event::Event;
pub use outcome::{Outcome, Settled, Ticket};
pub use shared::{SnapshotReason, SnapshotRequest};
pub use status::{BackendStatus, Counters, Readiness, Status};
pub use subscription::{Deliveries, IntoLastEventId, StreamHandle, Subscribe, Subscription};
