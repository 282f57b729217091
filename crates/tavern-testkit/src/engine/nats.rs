//! NATS: a server, a cluster, and talking to them.

mod accord;
mod cluster;
mod config;
mod conn;
mod life;
mod message;
mod options;
mod request;
mod rewind;
mod server;
mod tls;
mod view;

pub use cluster::NatsCluster;
pub use conn::NatsConn;
pub use message::NatsMessage;
pub use options::{NatsAuth, NatsFlavor, NatsOptions, NatsTls, NatsUser};
pub use server::NatsServer;
