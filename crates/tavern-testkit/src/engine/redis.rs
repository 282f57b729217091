//! Redis and Valkey: a server, its replicas, a cluster, a Sentinel.

mod cluster;
mod config;
mod conn;
mod life;
mod options;
mod replica;
mod rewind;
mod sentinel;
mod server;

pub use cluster::RedisCluster;
pub use conn::{RedisConn, Reply};
pub use options::{Flavor, RedisOptions};
pub use sentinel::RedisSentinel;
pub use server::RedisServer;
