//! The Postgres backend of Tavern: Postgres 13 and newer, also behind a pooler in transaction mode.

mod append;
mod appender;
mod backend;
mod config;
mod connect;
mod dsn;
mod failure;
mod follower;
mod link;
mod log;
mod number;
mod outbox;
mod page;
mod pattern;
mod record;
mod schema;
mod shared;
mod sweep;

pub use backend::PostgresBackend;
pub use config::PostgresConfig;
pub use schema::schema;
