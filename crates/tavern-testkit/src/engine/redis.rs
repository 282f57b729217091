//! Redis and Valkey: a server, its replicas, a cluster, a Sentinel.

mod config;
mod conn;
mod options;
mod server;

pub use conn::{RedisConn, Reply};
pub use options::{Flavor, RedisOptions};
pub use server::RedisServer;
