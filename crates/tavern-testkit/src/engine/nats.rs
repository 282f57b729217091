//! NATS: a server, talking to it, and its states of before.

mod config;
mod conn;
mod life;
mod options;
mod rewind;
mod server;

pub use conn::{NatsConn, NatsMessage};
pub use options::{NatsAuth, NatsFlavor, NatsOptions, NatsTls, NatsUser};
pub use server::NatsServer;
