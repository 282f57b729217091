//! Redis and Valkey: a server, its replicas, a cluster, a Sentinel.

mod config;
mod conn;
mod life;
mod options;
mod replica;
mod rewind;
mod server;

pub use conn::{RedisConn, Reply};
pub use options::{Flavor, RedisOptions};
pub use server::RedisServer;
