//! A primary and the replica that takes its place.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::options::PostgresOptions;
use super::server::PostgresServer;
use crate::proxy::Proxy;

/// Two servers, of which one replicates the other, and an address that leads to whoever is the
/// primary, as a proxy or a name that moves does.
#[derive(Debug)]
pub struct PostgresPair {
    servers: [PostgresServer; 2],
    /// Which of them is the primary.
    primary: AtomicUsize,
    wire: Proxy,
}

impl PostgresPair {
    /// Starts both with these options, and waits until the replica is one. The address lives as
    /// long as the runtime in which this is called.
    ///
    /// # Errors
    ///
    /// As [`PostgresServer::start`].
    pub async fn start(options: PostgresOptions) -> io::Result<Self> {
        // Who was cut off for a while still finds what it missed.
        let mut options = options;
        options.settings.insert(0, ("wal_keep_size".to_owned(), "512MB".to_owned()));
        let primary = PostgresServer::start(options).await?;
        let replica = PostgresServer::replica_of(&primary).await?;
        let wire = Proxy::to(primary.port()).await?;
        Ok(Self { servers: [primary, replica], primary: AtomicUsize::new(0), wire })
    }

    /// Who is the primary now: the first, until a promotion.
    #[must_use]
    pub fn primary(&self) -> &PostgresServer {
        &self.servers[self.primary.load(Ordering::Acquire)]
    }

    /// The other: the replica, or after a promotion who was the primary.
    #[must_use]
    pub fn other(&self) -> &PostgresServer {
        &self.servers[1 - self.primary.load(Ordering::Acquire)]
    }

    /// The port that leads to the primary.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.wire.port()
    }

    /// A URL that leads to the primary; `user` may be `NAME:PASSWORD`.
    #[must_use]
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port())
    }

    /// A URL with the addresses of both, of which a client takes the one that lets it write.
    #[must_use]
    pub fn url_of_both(&self, user: &str, database: &str) -> String {
        let [first, second] = [0, 1].map(|n: usize| self.servers[n].addr());
        format!("postgres://{user}@{first},{second}/{database}?target_session_attrs=read-write")
    }

    /// Promotes the replica, which is the primary when this returns: the address leads there, and
    /// connections through it are cut. The primary of before stays as it is, be it dead or alive.
    ///
    /// # Errors
    ///
    /// If it does not become one.
    pub async fn promote(&self) -> io::Result<()> {
        self.other().promote().await?;
        self.primary.fetch_xor(1, Ordering::AcqRel);
        self.wire.turn_to(self.primary().port());
        Ok(())
    }

    /// kill -9 of the primary, and a promotion of what the replica has.
    ///
    /// # Errors
    ///
    /// As [`promote`](Self::promote).
    pub async fn fail_over(&self) -> io::Result<()> {
        self.primary().kill().await?;
        self.promote().await
    }

    /// Makes the other a replica of the primary, whatever it is now and has.
    ///
    /// # Errors
    ///
    /// As [`PostgresServer::become_replica_of`].
    pub async fn rejoin(&self) -> io::Result<()> {
        self.other().become_replica_of(self.primary()).await
    }
}
