//! A primary, a replica, and the Sentinels that watch them.

use std::io;

use futures_util::future::try_join_all;

use super::config::OURSELVES;
use super::options::RedisOptions;
use super::server::RedisServer;
use crate::engine::deadline::Deadline;

/// The name that the Sentinels know the primary by.
const NAME: &str = "tavern";

/// A primary with one replica under several Sentinels, to whom a server is dead after a good second.
#[derive(Debug)]
pub struct RedisSentinel {
    sentinels: Vec<RedisServer>,
    servers: Vec<RedisServer>,
}

impl RedisSentinel {
    /// Starts the pair with `options`, then `sentinels` of the same flavor that ask nobody for a
    /// password, and waits until all of them know each other and the replica.
    ///
    /// # Errors
    ///
    /// If one does not start, or they do not find each other.
    pub async fn start(options: RedisOptions, sentinels: usize) -> io::Result<Self> {
        let flavor = options.flavor;
        let primary = RedisServer::start(options).await?;
        let replica = RedisServer::replica_of(&primary).await?;
        let quorum = sentinels / 2 + 1;
        let mut watch = RedisOptions::new(flavor)
            .with_config(format!("sentinel monitor {NAME} 127.0.0.1 {} {quorum}", primary.port()))
            .with_config(format!("sentinel failover-timeout {NAME} 2000"));
        if primary.user().is_some() {
            let (name, password) = OURSELVES;
            watch = watch
                .with_config(format!("sentinel auth-user {NAME} {name}"))
                .with_config(format!("sentinel auth-pass {NAME} {password}"));
        }
        let starts = (0..sentinels).map(|n| {
            // Noticing at the same moment, each would vote for itself and wait for a next election.
            let down = format!("sentinel down-after-milliseconds {NAME} {}", 1000 + 400 * n);
            RedisServer::start_with(watch.clone().with_config(down), &["--sentinel"])
        });
        let sentinels = try_join_all(starts).await?;
        let these = Self { sentinels, servers: vec![primary, replica] };
        for period in ["info-period", "ask-period", "publish-period"] {
            these.set_millis(period, "200").await;
        }
        // A replica whose INFO is older than five of these is no candidate, and when the primary is
        // down it is asked for once a second, whatever the period.
        these.set_millis("ping-period", "500").await;
        these.wait_ready().await?;
        // What publishes more often than this takes a replica that was just promoted, of which it
        // has not heard, for a primary that came back, and makes it a replica again.
        these.set_millis("publish-period", "700").await;
        Ok(these)
    }

    /// Lets the Sentinels look around more often than every ten seconds and every second.
    async fn set_millis(&self, period: &str, millis: &str) {
        for sentinel in &self.sentinels {
            // Version 6.2 cannot be told. There it takes its time.
            let _ = sentinel.cli(&["SENTINEL", "DEBUG", period, millis]).await;
        }
    }

    /// Waits until all Sentinels know each other, and the server that is not the primary as its
    /// replica, up to date: from then on they can promote it.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub async fn wait_ready(&self) -> io::Result<()> {
        let mut deadline = Deadline::new("the Sentinels to find each other and the replica");
        for sentinel in &self.sentinels {
            loop {
                let others = sentinel.cli(&["SENTINEL", "SENTINELS", NAME]).await?.items().len();
                let replicas = sentinel.cli(&["SENTINEL", "REPLICAS", NAME]).await?;
                // It is a candidate when they have read its INFO.
                let ready = replicas.to_string().contains("master-link-status\nok");
                if others + 1 == self.sentinels.len() && ready {
                    break;
                }
                deadline.saw(format!("{others} others, the replica is ready: {ready}"));
                deadline.tick().await?;
            }
        }
        Ok(())
    }

    /// The name that the Sentinels know the primary by.
    #[must_use]
    pub fn name(&self) -> &'static str {
        NAME
    }

    /// The Sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// Both servers: the one that began as the primary first.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The server that the Sentinels name as the primary: those that answer, all of them.
    ///
    /// # Errors
    ///
    /// If none answers, or they do not agree (yet).
    pub async fn master(&self) -> io::Result<&RedisServer> {
        let mut named = Vec::new();
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.is_running()) {
            let addr = sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).await?;
            named.push(addr.items().get(1).and_then(super::Reply::int));
        }
        let agreed = named.windows(2).all(|pair| pair[0] == pair[1]);
        let port = named.first().copied().flatten().filter(|_| agreed);
        let master = self.servers.iter().find(|server| Some(i64::from(server.port())) == port);
        master.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("Sentinels name the ports {named:?}"))
        })
    }

    /// Has the Sentinels promote the replica while the primary runs; waits until all of them name
    /// it and it is one. Returns the new primary.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub async fn failover(&self) -> io::Result<&RedisServer> {
        let old = self.master().await?;
        let mut deadline = Deadline::new("a Sentinel to begin a failover");
        // Soon after another failover the replica is no candidate.
        while let Err(error) = self.sentinels[0].cli(&["SENTINEL", "FAILOVER", NAME]).await {
            deadline.saw(error);
            deadline.tick().await?;
        }
        self.wait_master_after(old).await
    }

    /// kill -9 of the primary; waits until all Sentinels name the other server and it is a primary.
    /// Returns the dead one and the new one.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub async fn kill_master(&self) -> io::Result<(&RedisServer, &RedisServer)> {
        let old = self.master().await?;
        old.kill().await?;
        Ok((old, self.wait_master_after(old).await?))
    }

    async fn wait_master_after(&self, old: &RedisServer) -> io::Result<&RedisServer> {
        let mut deadline = Deadline::new("the Sentinels to promote the replica");
        loop {
            match self.master().await {
                Ok(new) if new.port() != old.port() => {
                    let role = new.info("role").await?;
                    if role == "master" {
                        return Ok(new);
                    }
                    deadline.saw(role);
                }
                Ok(_) => deadline.saw("they name the old one"),
                Err(error) => deadline.saw(error),
            }
            deadline.tick().await?;
        }
    }
}
