//! Postgres: a server, a pair of them, and PgBouncer.

mod bouncer;
mod config;
mod data;
mod family;
mod life;
mod options;
mod owner;
mod pair;
mod programs;
mod psql;
mod replica;
mod rewind;
mod server;
mod template;

pub use bouncer::{PgBouncer, PgBouncerOptions};
pub use options::{PostgresAuth, PostgresOptions};
pub use pair::PostgresPair;
pub use server::PostgresServer;
