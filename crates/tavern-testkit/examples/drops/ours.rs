//! Tavern's own hubs, with the settings they come with.

use std::path::Path;

use tavern_testkit::Hub;
use tavern_testkit::drops::{Drops, Outcome, Site};
use tavern_testkit::engine::{
    NatsOptions, NatsServer, PostgresOptions, PostgresServer, RedisOptions, RedisServer,
};

use crate::Failure;
use crate::order::Trial;

/// What the hubs stand on; it ends when it is dropped.
enum Engine {
    Sqlite,
    Redis(RedisServer),
    Nats(NatsServer),
    Postgres(PostgresServer),
}

impl Engine {
    async fn start(name: &str) -> Result<Self, Failure> {
        Ok(match name {
            "redis" => Self::Redis(RedisServer::start(RedisOptions::default()).await?),
            "nats" => Self::Nats(NatsServer::start(NatsOptions::default()).await?),
            "postgres" => Self::Postgres(PostgresServer::start(PostgresOptions::new()).await?),
            _ => Self::Sqlite,
        })
    }

    fn url(&self) -> String {
        match self {
            // In the directory of the hubs.
            Self::Sqlite => "sqlite:tavern.db".to_owned(),
            Self::Redis(server) => server.url(),
            Self::Nats(server) => server.url(),
            Self::Postgres(server) => server.url("postgres", "postgres"),
        }
    }
}

/// Runs it over hubs of `binary`.
pub(crate) async fn run(trial: Trial, drops: &Drops, binary: &Path) -> Result<Outcome, Failure> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::start(trial.store).await?;
    std::fs::write(dir.path().join("tavern.toml"), format!("backend = {:?}\n", engine.url()))?;
    let mut hubs = Vec::new();
    for _ in 0..trial.nodes {
        hubs.push(Hub::start(binary, dir.path()).await?);
    }
    let site = Site::tavern(hubs.iter().map(Hub::url).collect());
    Ok(drops.run(&site).await?)
}
