//! Where is published to.

use std::fmt;
use std::fs::File;
use std::io::Read;

use tavern_backend::{Bus, MemoryBackend, MemoryConfig, Retention};
use tavern_nats::{NatsBackend, NatsConfig};
use tavern_postgres::{PostgresBackend, PostgresConfig};
use tavern_redis::{RedisBackend, RedisConfig};
use tavern_sqlite::{Durability, SqliteBackend, SqliteConfig};
use tavern_testkit::engine::{
    NatsFlavor, NatsServer, PostgresOptions, PostgresServer, RedisOptions, RedisServer,
};
use tempfile::TempDir;

use crate::run::Result;

const FILE: &str = "log.db";
/// The role and the database of a server that was just made.
pub(crate) const USER: &str = "postgres";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Sqlite(Durability),
    Redis,
    /// The current one.
    Nats,
    Postgres,
    /// With `synchronous_commit` off: nobody waits for the disk.
    PostgresRelaxed,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(durability) => write!(f, "SQLite {durability:?}"),
            Self::Redis => f.write_str("Redis"),
            Self::Nats => f.write_str("NATS"),
            Self::Postgres => f.write_str("Postgres"),
            Self::PostgresRelaxed => f.write_str("Postgres, synchronous_commit off"),
        }
    }
}

/// A log and a bus to it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) bus: Bus,
    /// Another node of the same log.
    again: Again,
}

#[derive(Debug)]
enum Again {
    Memory(MemoryBackend),
    /// The files live as long as this.
    Sqlite(SqliteConfig, TempDir),
    /// The server runs as long as this.
    Redis(Box<RedisConfig>, RedisServer),
    /// The same.
    Nats(Box<NatsConfig>, NatsServer),
    /// The same.
    Postgres(Box<PostgresConfig>, PostgresServer),
}

impl Store {
    /// A new log with the default rules.
    pub(crate) async fn open(kind: Kind) -> Result<Self> {
        Self::with(kind, Retention::default()).await
    }

    /// A new log.
    pub(crate) async fn with(kind: Kind, retention: Retention) -> Result<Self> {
        match kind {
            Kind::Memory => {
                let config = MemoryConfig::default().with_retention(retention);
                let backend = MemoryBackend::with_config(config);
                let again = Again::Memory(backend.fork());
                Ok(Self { bus: Bus::new(backend), again })
            }
            Kind::Sqlite(durability) => {
                let directory = TempDir::with_prefix("tavern-bench-")?;
                let config = SqliteConfig::new(directory.path().join(FILE))
                    .with_durability(durability)
                    .with_retention(retention);
                let backend = SqliteBackend::open(config.clone()).await?;
                let again = Again::Sqlite(config, directory);
                Ok(Self { bus: Bus::new(backend), again })
            }
            Kind::Redis => {
                let server = RedisServer::start(RedisOptions::default()).await?;
                let config =
                    RedisConfig::new("127.0.0.1", server.port()).with_retention(Some(retention));
                let backend = RedisBackend::open(config.clone()).await?;
                let again = Again::Redis(Box::new(config), server);
                Ok(Self { bus: Bus::new(backend), again })
            }
            Kind::Nats => {
                let server = NatsServer::start(NatsFlavor::Current).await?;
                let config =
                    NatsConfig::new("127.0.0.1", server.port()).with_retention(Some(retention));
                let backend = NatsBackend::open(config.clone()).await?;
                let again = Again::Nats(Box::new(config), server);
                Ok(Self { bus: Bus::new(backend), again })
            }
            Kind::Postgres | Kind::PostgresRelaxed => {
                let mut options = PostgresOptions::new();
                if kind == Kind::PostgresRelaxed {
                    options = options.with_setting("synchronous_commit", "off");
                }
                let server = PostgresServer::start(options).await?;
                let config =
                    PostgresConfig::new(server.url(USER, USER)).with_retention(Some(retention));
                let backend = PostgresBackend::open(config.clone()).await?;
                let again = Again::Postgres(Box::new(config), server);
                Ok(Self { bus: Bus::new(backend), again })
            }
        }
    }

    /// A bus to the same log, as another process has one.
    pub(crate) async fn another(&self) -> Result<Bus> {
        match &self.again {
            Again::Memory(backend) => Ok(Bus::new(backend.fork())),
            Again::Sqlite(config, ..) => Ok(Bus::new(SqliteBackend::open(config.clone()).await?)),
            Again::Redis(config, ..) => Ok(Bus::new(RedisBackend::open((**config).clone()).await?)),
            Again::Nats(config, ..) => Ok(Bus::new(NatsBackend::open((**config).clone()).await?)),
            Again::Postgres(config, ..) => {
                Ok(Bus::new(PostgresBackend::open((**config).clone()).await?))
            }
        }
    }

    /// Where the server is, if there is one.
    pub(crate) fn url(&self) -> Option<String> {
        match &self.again {
            Again::Memory(_) | Again::Sqlite(..) => None,
            Again::Redis(_, server) => Some(server.url()),
            Again::Nats(_, server) => Some(server.url()),
            Again::Postgres(_, server) => Some(server.url(USER, USER)),
        }
    }

    /// Where another process finds it; `None` for memory.
    pub(crate) fn hub_url(&self) -> Option<String> {
        match &self.again {
            Again::Sqlite(_, directory) => {
                Some(format!("sqlite:{}", directory.path().join(FILE).display()))
            }
            _ => self.url(),
        }
    }

    /// Commits so far; `None` for a log that has none.
    ///
    /// SQLite's own count (modulo 2^32) is `iChange` in the header of the WAL's index, which is a
    /// documented part of the file beside the database and may be read at any time. Redis counts
    /// calls of scripts, Postgres transactions that wrote. JetStream has nothing of the kind.
    pub(crate) async fn commits(&self) -> Result<Option<u32>> {
        match &self.again {
            Again::Memory(_) | Again::Nats(..) => Ok(None),
            Again::Sqlite(_, directory) => {
                let index = directory.path().join(FILE).with_extension("db-shm");
                let mut header = [[0; 4]; 3];
                File::open(index)?.read_exact(header.as_flattened_mut())?;
                Ok(Some(u32::from_ne_bytes(header[2])))
            }
            Again::Redis(_, server) => {
                let stats = server.cli(&["INFO", "commandstats"]).await?.text();
                let calls = stats.lines().find_map(|line| {
                    line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok()
                });
                Ok(Some(calls.unwrap_or(0)))
            }
            Again::Postgres(_, server) => {
                let next = server.psql("SELECT pg_snapshot_xmax(pg_current_snapshot())").await?;
                let next = next.trim().parse::<u64>()?;
                Ok(u32::try_from(next & u64::from(u32::MAX)).ok())
            }
        }
    }
}
