//! A server that a test hurts, nodes on it, and applications that speak SQL.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Bus, Keep, MessageEnvelope, Published, ReadQuery, Result, Retention, Tasks};
use tavern_postgres::{PostgresBackend, PostgresConfig};
use tavern_testkit::engine::{PostgresOptions, PostgresServer};
use tavern_testkit::say::filter;
use tavern_testkit::wait::within;
use tavern_testkit::{Rig, Stage};
use tokio_postgres::{Client, NoTls};

use crate::kit::quick;

/// A server, and how nodes on it are set up.
#[derive(Clone)]
pub(crate) struct Stand {
    pub(crate) server: Arc<PostgresServer>,
    change: Arc<dyn Fn(&mut PostgresConfig) + Send + Sync>,
}

impl fmt::Debug for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stand").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Stand {
    pub(crate) async fn start() -> Self {
        Self::start_with(PostgresOptions::new()).await
    }

    pub(crate) async fn start_with(options: PostgresOptions) -> Self {
        let starting = PostgresServer::start(options.without_fsync());
        let server = within("a server starts", starting).await.unwrap();
        Self { server: Arc::new(server), change: Arc::new(|_| {}) }
    }

    /// The same server, for nodes that are set up otherwise.
    pub(crate) fn with(
        &self,
        change: impl Fn(&mut PostgresConfig) + Send + Sync + 'static,
    ) -> Self {
        let before = Arc::clone(&self.change);
        let change = move |config: &mut PostgresConfig| {
            before(config);
            change(config);
        };
        Self { server: Arc::clone(&self.server), change: Arc::new(change) }
    }

    /// The same server, reached by this address.
    pub(crate) fn at(&self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.with(move |config| config.url.clone_from(&url))
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        let mut config = quick(PostgresConfig::new(self.server.url("postgres", "postgres")));
        config.retention = Some(keeping(100_000));
        config.outbox_interval = Duration::from_millis(10);
        (self.change)(&mut config);
        config
    }

    pub(crate) async fn open(&self) -> Result<PostgresBackend> {
        within("a node opens", PostgresBackend::open(self.config())).await
    }

    pub(crate) async fn bus(&self) -> Bus {
        Bus::new(self.open().await.unwrap())
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage::new(self.clone())
    }

    /// Lets the superuser run statements.
    #[track_caller]
    pub(crate) fn psql(&self, sql: &str) -> impl Future<Output = String> + use<> {
        let (at, server, sql) =
            (std::panic::Location::caller(), Arc::clone(&self.server), sql.to_owned());
        async move { server.psql(&sql).await.unwrap_or_else(|error| panic!("{at}: {error}: {sql}")) }
    }

    /// A connection of an application.
    pub(crate) async fn sql(&self) -> Sql {
        sql(&self.server.url("postgres", "postgres")).await
    }
}

impl Rig for Stand {
    type Backend = PostgresBackend;

    async fn open(&self, retention: Retention) -> Result<PostgresBackend> {
        let mut config = self.config();
        config.retention = Some(retention);
        PostgresBackend::open(config).await
    }

    async fn restart(&self) -> Result<()> {
        self.server.kill().await.unwrap();
        self.server.start_again().await.unwrap();
        Ok(())
    }

    async fn checkpoint(&self) -> Result<()> {
        self.server.save_snapshot().await.unwrap();
        Ok(())
    }

    async fn rewind(&self) -> Result<()> {
        self.server.rewind().await.unwrap();
        Ok(())
    }
}

/// A connection of an application.
pub(crate) struct Sql {
    client: Client,
    _tasks: Tasks,
}

impl Deref for Sql {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Sql {
    /// Runs statements.
    #[track_caller]
    pub(crate) fn run<'a>(&'a self, sql: &'a str) -> impl Future<Output = ()> + 'a {
        let at = std::panic::Location::caller();
        async move {
            match tokio::time::timeout(Duration::from_secs(10), self.client.batch_execute(sql))
                .await
            {
                Ok(Ok(())) => {}
                Ok(Err(error)) => panic!("{at}: {error:?}: {sql}"),
                Err(_) => panic!("{at}: it waits for a lock: {sql}"),
            }
        }
    }

    /// What a statement is refused with.
    pub(crate) async fn refused(&self, sql: &str) -> String {
        let error = within("an answer", self.client.batch_execute(sql)).await.unwrap_err();
        error.as_db_error().unwrap_or_else(|| panic!("{error:?}: {sql}")).message().to_owned()
    }
}

pub(crate) async fn sql(url: &str) -> Sql {
    let (client, connection) =
        within("a connection", tokio_postgres::connect(url, NoTls)).await.unwrap();
    let tasks = Tasks::new();
    tasks.spawn(async move {
        // How it ends, the client tells.
        let _ = connection.await;
    });
    Sql { client, _tasks: tasks }
}

/// So many entries of each lane for an hour, and none of topics that begin with `live`.
pub(crate) fn keeping(entries: u32) -> Retention {
    let hour = Duration::from_secs(3600);
    Retention::default()
        .with_default(Keep::new(entries, hour))
        .with_rule(filter("live/**"), Keep::live())
}

/// Publishes, and says where it was stored.
#[track_caller]
pub(crate) fn store(bus: &Bus, envelope: MessageEnvelope) -> impl Future<Output = u64> + use<> {
    let (at, bus) = (std::panic::Location::caller(), bus.clone());
    async move {
        match within("a publish", bus.publish(envelope)).await {
            Ok(Published::Stored(position)) => position.seq,
            other => panic!("{at}: stored, not {other:?}"),
        }
    }
}

/// All that the log has: seqs with their data. It is dense.
pub(crate) async fn log(bus: &Bus) -> Vec<(u64, String)> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = within("a page", bus.read(ReadQuery::range(after, u64::MAX))).await.unwrap();
        let entries = page.entries.iter();
        all.extend(entries.map(|e| (e.position.seq, e.record.envelope.data.as_str().to_owned())));
        if page.to >= page.head {
            let seqs: Vec<u64> = all.iter().map(|(seq, _)| *seq).collect();
            let first = seqs.first().copied().unwrap_or(1);
            assert_eq!(seqs, (first..).take(seqs.len()).collect::<Vec<_>>(), "it is dense");
            return all;
        }
        after = page.to;
    }
}

/// The data of all that the log has.
pub(crate) async fn texts(bus: &Bus) -> Vec<String> {
    log(bus).await.into_iter().map(|(_, text)| text).collect()
}

/// Waits until a question to the server or a backend is answered with yes.
#[track_caller]
pub(crate) fn until<F>(what: &str, mut ask: impl FnMut() -> F) -> impl Future<Output = ()>
where
    F: Future<Output = bool>,
{
    within(what, async move {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}

/// Waits until the log's newest is this.
pub(crate) async fn moved(bus: &Bus, newest: &str) {
    until(&format!("{newest} is in the log"), || async {
        texts(bus).await.last().is_some_and(|last| last == newest)
    })
    .await;
}
