//! What happens to the hubs of a soak, or to what they stand on.

use std::io;
use std::time::Duration;

use crate::engine::RedisServer;
use crate::hub::Hub;

/// What happens while a soak runs.
#[derive(Debug)]
pub enum Trouble<'a> {
    /// One hub after the other is killed with -9 and started again.
    Hubs,
    /// The server loses its subscribers' connections, is killed with -9 and started again, is stopped,
    /// and loses its scripts and all connections: one after the other. The first stop is as long as
    /// this, the others a second at most.
    Redis(&'a RedisServer, Duration),
}

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
                    let again = pause.min(Duration::from_secs(1));
                    tokio::time::sleep(if n == 2 { pause } else { again }).await;
                    server.resume()
                }
                _ => {
                    server.cli(&["SCRIPT", "FLUSH"]).await?;
                    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]).await.map(drop)
                }
            },
        }
    }

    /// Whether streams end by it.
    pub(super) const fn kills_hubs(&self) -> bool {
        matches!(self, Self::Hubs)
    }
}
