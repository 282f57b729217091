//! Postgres: a server, and talking to it.

mod config;
mod data;
mod family;
mod life;
mod options;
mod owner;
mod programs;
mod psql;
mod rewind;
mod server;
mod template;
mod warden;

pub use options::{PostgresAuth, PostgresOptions};
pub use server::PostgresServer;
