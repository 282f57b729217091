//! Through a `PgBouncer` that lends a connection for a transaction each.

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{Received, Result, Retention};
use tavern_postgres::{PostgresBackend, PostgresConfig};
use tavern_testkit::Rig;
use tavern_testkit::engine::{PgBouncer, PgBouncerOptions, PostgresOptions, PostgresServer};
use tavern_testkit::say::message;
use tavern_testkit::wait::within;

use crate::kit::quick;
use crate::stand::{Stand, sql, store};
use crate::suite::play_part;

/// A namespace on a server behind a pooler; what is heard comes from the server itself.
#[derive(Debug)]
struct Pooled {
    engines: Arc<(PostgresServer, PgBouncer)>,
    namespace: String,
}

impl Rig for Pooled {
    type Backend = PostgresBackend;

    async fn open(&self, retention: Retention) -> Result<PostgresBackend> {
        let (server, bouncer) = &*self.engines;
        let mut config = quick(PostgresConfig::new(bouncer.url("postgres", "postgres")));
        config.listen_url = Some(server.url("postgres", "postgres"));
        config.namespace.clone_from(&self.namespace);
        // Others keep it busy.
        config.timeout = Duration::from_secs(5);
        PostgresBackend::open(config.with_retention(Some(retention))).await
    }

    async fn restart(&self) -> Result<()> {
        self.engines.0.kill().await.unwrap();
        self.engines.0.start_again().await.unwrap();
        Ok(())
    }

    async fn checkpoint(&self) -> Result<()> {
        self.engines.0.save_snapshot().await.unwrap();
        Ok(())
    }

    async fn rewind(&self) -> Result<()> {
        self.engines.0.rewind().await.unwrap();
        Ok(())
    }
}

async fn engines() -> (PostgresServer, PgBouncer) {
    let options = PostgresOptions::new().without_fsync();
    let server = within("a server starts", PostgresServer::start(options)).await.unwrap();
    let options = PgBouncerOptions::new().with_setting("max_client_conn", "300");
    let bouncer = within("a pooler starts", PgBouncer::start(&server, options)).await.unwrap();
    (server, bouncer)
}

/// A part of the suite.
fn passes(part: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engines = Arc::new(runtime.block_on(engines()));
    play_part((part, 5), 4, |namespace| Pooled { engines: Arc::clone(&engines), namespace });
    let pools = runtime.block_on(engines.1.console("SHOW POOLS")).unwrap();
    assert!(pools.lines().any(|line| line.ends_with("|transaction")), "{pools}");
}

#[test]
fn the_first_fifth_of_the_suite_passes() {
    passes(0);
}

#[test]
fn the_second_fifth_of_the_suite_passes() {
    passes(1);
}

#[test]
fn the_third_fifth_of_the_suite_passes() {
    passes(2);
}

#[test]
fn the_fourth_fifth_of_the_suite_passes() {
    passes(3);
}

#[test]
fn the_last_fifth_of_the_suite_passes() {
    passes(4);
}

/// What listens through the pooler hears nothing: the poll finds it. Without a broker, which would
/// find it as well.
#[tokio::test]
async fn without_a_way_to_listen_the_poll_delivers() {
    let stand = Stand::start().await;
    let bouncer = PgBouncer::start(&stand.server, PgBouncerOptions::new()).await.unwrap();
    let pooled = stand.at(bouncer.url("postgres", "postgres"));
    let (one, two) = (pooled.bus().await, pooled.bus().await);
    let mut subscription = two.subscribe("t").await.unwrap();
    let mut next = async || {
        loop {
            match within("a message", subscription.recv()).await {
                Some(Received::Message(envelope)) => return envelope.data.as_str().to_owned(),
                // The feed begins with the link's coming up.
                Some(Received::Gap(_)) => {}
                other => panic!("a message, not {other:?}"),
            }
        }
    };
    for n in 0..5 {
        store(&one, message("t", n.to_string())).await;
        assert_eq!(next().await, n.to_string());
    }
    // As SQL does through the same pooler.
    let app = sql(&bouncer.url("postgres", "postgres")).await;
    app.run("BEGIN; SELECT tavern.publish('t', 'of SQL'); COMMIT").await;
    assert_eq!(next().await, "of SQL");
    for bus in [one, two] {
        bus.close().await.unwrap();
    }
}
