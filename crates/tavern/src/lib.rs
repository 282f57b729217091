//! Live delivery for Rust: publish on any process; every browser on every process gets it, in order,
//! once, and resumes on any process, or is told exactly what it missed.
//!
//! This crate brings the parts together: the [broker], the [backends][backend] behind
//! [`connect`], and with the feature `http` the axum routes.
//!
//! ```
//! use tavern::{Broker, Delivery, Event, connect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::builder().bus(connect("memory:").await?).build()?;
//! let mut orders = broker.subscribe(["orders/*"]).open()?;
//! // The first thing is the position to resume from; what is published behind it arrives.
//! assert!(matches!(orders.recv().await, Some(Delivery::Cursor(_))));
//!
//! broker.publish("orders/7", Event::new("paid").event("changed")).await?;
//!
//! let Some(Delivery::Message(message)) = orders.recv().await else { panic!("no message") };
//! assert_eq!(message.data().as_str(), "paid");
//! broker.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `sqlite` (default): the embedded backend, several processes on one file.
//! - `redis`: Redis or Valkey, for several machines.
//! - `nats`: NATS JetStream, for several machines.
//! - `postgres`: Postgres, for several machines; SQL publishes, too.
//! - `http`: `GET /events`, `POST /publish` and the rest as an axum router.

mod connect;

pub use connect::{ConnectOptions, connect, connect_with};
pub use tavern_backend as backend;
pub use tavern_backend::{Bus, Cursor, LastEventId, MessageEnvelope};
pub use tavern_broker as broker;
pub use tavern_broker::{Broker, BrokerConfig, Delivery, Error, Event, Outcome, Subscription};
#[cfg(feature = "http")]
pub use tavern_http as http;
#[cfg(feature = "nats")]
pub use tavern_nats as nats;
#[cfg(feature = "postgres")]
pub use tavern_postgres as postgres;
#[cfg(feature = "redis")]
pub use tavern_redis as redis;
#[cfg(feature = "sqlite")]
pub use tavern_sqlite as sqlite;
