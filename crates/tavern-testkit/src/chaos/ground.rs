//! What the hubs stand on, and what happens to it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::plan::{Engine, Fault};
use crate::engine::{
    NatsOptions, NatsServer, PostgresOptions, PostgresServer, RedisOptions, RedisServer,
};
use crate::proxy::{Conditions, Proxy, Side};
use crate::wait::within;

/// How much later the end of a connection is told.
const LATE: Duration = Duration::from_secs(2);

/// An engine behind a proxy, or a file.
#[derive(Debug)]
pub(super) enum Ground {
    Sqlite(PathBuf, Option<File>),
    Redis(RedisServer, Proxy),
    Nats(NatsServer, Proxy),
    Postgres(PostgresServer, Proxy),
}

impl Ground {
    /// Starts it; `dir` is that of the hubs.
    pub(super) async fn start(engine: Engine, dir: &Path) -> io::Result<Self> {
        Ok(match engine {
            Engine::Sqlite => Self::Sqlite(dir.join("tavern.db-lock"), None),
            Engine::Redis => {
                let options = RedisOptions::default().with_appendonly();
                let server = RedisServer::start(options).await?;
                let proxy = Proxy::to(server.port()).await?;
                Self::Redis(server, proxy)
            }
            Engine::Nats => {
                let server = NatsServer::start(NatsOptions::default()).await?;
                let proxy = Proxy::to(server.port()).await?;
                Self::Nats(server, proxy)
            }
            Engine::Postgres => {
                // A kill of processes takes nothing from a file.
                let options = PostgresOptions::new().without_fsync();
                let server = PostgresServer::start(options).await?;
                let proxy = Proxy::to(server.port()).await?;
                Self::Postgres(server, proxy)
            }
        })
    }

    /// Where hubs find it.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Sqlite(..) => "sqlite:tavern.db".to_owned(),
            Self::Redis(_, proxy) => format!("redis://127.0.0.1:{}", proxy.port()),
            Self::Nats(_, proxy) => format!("nats://127.0.0.1:{}", proxy.port()),
            Self::Postgres(_, proxy) => {
                format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port())
            }
        }
    }

    /// Lets it happen.
    pub(super) async fn begin(&mut self, fault: Fault) -> io::Result<()> {
        match fault {
            Fault::Delay => self.set(Conditions::delayed(Duration::from_millis(150))),
            Fault::Throttle => self.set(Conditions::throttled(64 * 1024)),
            Fault::Held => self.set(Conditions::held()),
            Fault::BlackHole => self.set(Conditions::black_hole()),
            Fault::Deaf => self.set(Conditions::deaf(Side::Client)),
            Fault::DeafFeed => self.deafen_feeds(),
            Fault::Cut => self.proxy().into_iter().for_each(Proxy::cut),
            Fault::Reset => self.proxy().into_iter().for_each(Proxy::reset),
            Fault::HalfOpen(side) => self.proxy().into_iter().for_each(|p| p.half_open(side)),
            Fault::SlowClose => {
                self.set(Conditions::slow_close(LATE));
                self.kill().await?;
            }
            Fault::Killed => self.kill().await?,
            Fault::Restarted => match self {
                Self::Sqlite(..) => {}
                Self::Redis(server, _) => server.terminate().await?,
                Self::Nats(server, _) => server.terminate().await?,
                Self::Postgres(server, _) => server.terminate().await?,
            },
            Fault::Stopped => match self {
                Self::Sqlite(..) => {}
                Self::Redis(server, _) => server.pause()?,
                Self::Nats(server, _) => server.pause()?,
                Self::Postgres(server, _) => server.pause().await?,
            },
            Fault::Locked => self.lock().await?,
            Fault::HubKilled | Fault::HubStopped => {}
        }
        Ok(())
    }

    /// Ends it.
    pub(super) async fn end(&mut self, fault: Fault) -> io::Result<()> {
        match fault {
            Fault::Killed | Fault::Restarted | Fault::SlowClose => match self {
                Self::Sqlite(..) => {}
                Self::Redis(server, _) => server.start_again().await?,
                Self::Nats(server, _) => server.start_again().await?,
                Self::Postgres(server, _) => server.start_again().await?,
            },
            Fault::Stopped => match self {
                Self::Sqlite(..) => {}
                Self::Redis(server, _) => server.resume()?,
                Self::Nats(server, _) => server.resume()?,
                Self::Postgres(server, _) => server.resume()?,
            },
            _ => {}
        }
        if let Self::Sqlite(_, held) = self {
            // Closing it releases the lock.
            *held = None;
        }
        self.proxy().into_iter().for_each(Proxy::heal);
        Ok(())
    }

    fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Sqlite(..) => None,
            Self::Redis(_, proxy) | Self::Nats(_, proxy) | Self::Postgres(_, proxy) => Some(proxy),
        }
    }

    fn set(&self, conditions: Conditions) {
        self.proxy().into_iter().for_each(|proxy| proxy.set(conditions));
    }

    /// Only what feeds hold now: those built anew hear again.
    fn deafen_feeds(&self) {
        let words = if matches!(self, Self::Nats(..)) { ".feed.>" } else { "SUBSCRIBE" };
        for link in self.proxy().into_iter().flat_map(Proxy::links).filter(|l| l.said(words)) {
            link.set(Conditions::deaf(Side::Client));
        }
    }

    async fn kill(&self) -> io::Result<()> {
        match self {
            Self::Sqlite(..) => Ok(()),
            Self::Redis(server, _) => server.kill().await,
            Self::Nats(server, _) => server.kill().await,
            Self::Postgres(server, _) => server.kill().await,
        }
    }

    async fn lock(&mut self) -> io::Result<()> {
        let Self::Sqlite(path, held) = self else { return Ok(()) };
        let file = File::options().write(true).open(path)?;
        within("the lock", async {
            while file.try_lock().is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        *held = Some(file);
        Ok(())
    }
}
