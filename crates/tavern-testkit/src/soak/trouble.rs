//! What happens to the hubs of a soak, or to what they stand on.

use std::io;
use std::time::Duration;

use crate::engine::{NatsServer, PostgresServer, RedisServer};
use crate::hub::Hub;
use crate::proxy::Proxy;
use crate::wait::within;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What happens while a soak runs.
#[derive(Debug)]
pub enum Trouble<'a> {
    /// One hub after the other is killed with -9 and started again.
    Hubs,
    /// The server loses its subscribers' connections, is killed with -9 and started again, is stopped,
    /// and loses its scripts and all connections: one after the other. The first stop is as long as
    /// this, the others a second at most.
    Redis(&'a RedisServer, Duration),
    /// All connections over the wire are cut; the server is killed with -9 and started again, is
    /// stopped, is ended in order and started again, sends its clients away before it ends and is
    /// started again: one after the other. The first stop is as long as this, the others a second at
    /// most. A cut is followed by the kill whatever the hubs have made good by then; the others are
    /// over when all hubs are ready again.
    Nats(&'a NatsServer, &'a Proxy, Duration),
    /// The connections of the hubs are terminated by the server's own means; the server is killed
    /// with -9 and started again, is stopped, is ended in order and started again; all connections
    /// over the wire are cut: one after the other. The first stop is as long as this, the others a
    /// second at most. What is begun anew is over when all hubs are ready again; a termination and a
    /// cut are not waited for.
    Postgres(&'a PostgresServer, &'a Proxy, Duration),
}

/// Ends all connections of hubs, and of nobody else.
const TERMINATE: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
     WHERE application_name LIKE 'tavern-%'";

impl Trouble<'_> {
    /// Makes the `n`th trouble, and waits until it is over.
    pub(super) async fn next(&mut self, n: u64, hubs: &mut [Hub]) -> io::Result<()> {
        match self {
            Self::Hubs => {
                let hub = usize::try_from(n).unwrap_or(0) % hubs.len();
                hubs[hub].kill().await?;
                hubs[hub].restart().await
            }
            &mut Self::Redis(server, pause) => match n % 4 {
                0 => server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.map(drop),
                1 => {
                    server.kill().await?;
                    server.start_again().await
                }
                2 => {
                    server.pause()?;
                    tokio::time::sleep(length(n, pause)).await;
                    server.resume()
                }
                _ => {
                    server.cli(&["SCRIPT", "FLUSH"]).await?;
                    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]).await.map(drop)
                }
            },
            &mut Self::Nats(server, wire, pause) => {
                match n % 5 {
                    0 => {
                        wire.cut();
                        return Ok(());
                    }
                    1 => server.kill().await?,
                    2 => {
                        server.pause()?;
                        tokio::time::sleep(length(n, pause)).await;
                        server.resume()?;
                        ready(hubs).await;
                        return Ok(());
                    }
                    3 => server.terminate().await?,
                    _ => {
                        server.lame_duck()?;
                        within("the end of a lame duck", async {
                            while server.is_running() {
                                tokio::time::sleep(LOOK).await;
                            }
                        })
                        .await;
                    }
                }
                server.start_again().await?;
                ready(hubs).await;
                Ok(())
            }
            &mut Self::Postgres(server, wire, pause) => {
                match n % 5 {
                    0 => return server.psql(TERMINATE).await.map(drop),
                    1 => {
                        server.kill().await?;
                        server.start_again().await?;
                    }
                    2 => {
                        server.pause().await?;
                        tokio::time::sleep(length(n, pause)).await;
                        server.resume()?;
                    }
                    3 => {
                        server.terminate().await?;
                        server.start_again().await?;
                    }
                    _ => {
                        wire.cut();
                        return Ok(());
                    }
                }
                ready(hubs).await;
                Ok(())
            }
        }
    }

    /// Whether streams end by it.
    pub(super) const fn kills_hubs(&self) -> bool {
        matches!(self, Self::Hubs)
    }
}

/// How long the server is stopped by the `n`th trouble.
fn length(n: u64, first: Duration) -> Duration {
    if n == 2 { first } else { first.min(Duration::from_secs(1)) }
}

/// Waits until all hubs can deliver what the others publish.
async fn ready(hubs: &[Hub]) {
    let client = reqwest::Client::new();
    for hub in hubs {
        let url = format!("{}/readyz", hub.url());
        within("the hub is ready again", async {
            while !client.get(&url).send().await.is_ok_and(|a| a.status().is_success()) {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }
}
