//! Real engines for tests: spawned on a free port with a directory of their own, killed, paused and
//! brought back, and gone when they are dropped.
//!
//! A program that is not on this machine is an error that says which package brings it, never a
//! test passed in silence. Programs are looked for in `$XDG_CACHE_HOME/tavern/bin` (by default
//! `~/.cache/tavern/bin`), then in `PATH`.
//!
//! All methods take `&self`, so that one task can hurt an engine while others use it. What waits
//! gives up after [`patience`](crate::wait::patience) with an error that says what it waited for.

mod certificate;
mod daemon;
mod deadline;
mod guarded;
mod nats;
mod port;
mod postgres;
mod program;
mod redis;

pub use nats::{
    NatsAuth, NatsCluster, NatsConn, NatsFlavor, NatsMessage, NatsOptions, NatsServer, NatsTls,
    NatsUser,
};
pub use postgres::{
    PgBouncer, PgBouncerOptions, PostgresAuth, PostgresOptions, PostgresPair, PostgresServer,
};
pub use redis::{Flavor, RedisCluster, RedisConn, RedisOptions, RedisSentinel, RedisServer, Reply};
