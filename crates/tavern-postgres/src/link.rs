//! Keeps the link: connects, brings the schema up to date, looks at the log, notices when it is gone,
//! and begins anew.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tavern_backend::Tasks;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use tokio_util::sync::CancellationToken;

use crate::connect::{Ending, Making, Wires, timed};
use crate::dsn::Dsn;
use crate::failure::Failure;
use crate::follower::Inbound;
use crate::line::{self, Line, pulse};
use crate::rights;
use crate::schema;
use crate::shared::{PAGES_AT_ONCE, Session, Shared};

/// The wait before the second attempt to connect.
const FIRST_WAIT: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dsn: Dsn,
    /// Where to listen.
    pub(crate) listen: Dsn,
    pub(crate) inbound: mpsc::Sender<Inbound>,
    /// Of the connections: they end with the link.
    pub(crate) wires: Tasks,
    pub(crate) token: CancellationToken,
}

/// A link that is up.
struct Up {
    session: Arc<Session>,
    /// What is listened to ends with it.
    listener: Line,
    _wires: Wires,
    /// How long connections may be idle.
    idle: Duration,
}

impl Up {
    /// Ends when a connection is dead.
    async fn pulse(&self, limit: Duration) -> Failure {
        let session = &self.session;
        let reading = limit * u32::try_from(PAGES_AT_ONCE).unwrap_or(u32::MAX);
        let lines = [
            (&session.writer, limit),
            // It may be busy with other answers.
            (&session.reader, reading),
            (&session.follower, limit),
            (&self.listener, limit),
        ];
        pulse(lines, &session.ending, self.idle).await
    }
}

impl Link {
    /// Runs until the backend closes. The first outcome goes to who opens it.
    pub(crate) async fn run(self, opened: oneshot::Sender<Result<(), Failure>>) {
        let token = self.token.clone();
        let wires = self.wires.clone();
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            () = self.keep(opened) => {}
            () = token.cancelled() => {}
        }
        // Connections end when nobody holds them.
        shared.session.send_replace(None);
        wires.close().await;
    }

    async fn keep(self, opened: oneshot::Sender<Result<(), Failure>>) {
        let shared = &self.shared;
        let mut opened = Some(opened);
        let mut tries = 0_u32;
        loop {
            match Box::pin(self.connect()).await {
                Ok(up) => {
                    let since = Instant::now();
                    if let Some(opened) = opened.take() {
                        // Who gave up opening has dropped the backend, which ends this task.
                        let _ = opened.send(Ok(()));
                    }
                    tokio::select! {
                        () = up.session.ending.ended.notified() => {}
                        silent = up.pulse(shared.config.timeout) => {
                            up.session.ending.end(&silent.reason);
                        }
                    }
                    let reason = up.session.ending.reason();
                    shared.session.send_replace(None);
                    shared.health.link_is_down(reason.as_str());
                    tracing::warn!(reason, "the link to the database is lost");
                    drop(up);
                    // It fails only where the backend is closing.
                    let _ = self.inbound.send(Inbound::Lost(reason.into())).await;
                    if since.elapsed() >= shared.config.reconnect_max {
                        tries = 0;
                        continue;
                    }
                    // What cuts it as soon as it is there will do so again.
                }
                Err(failure) => {
                    if let Some(opened) = opened.take() {
                        let _ = opened.send(Err(failure));
                        return;
                    }
                    tracing::debug!(reason = %failure.reason, "the database cannot be used yet");
                    shared.health.link_is_down(failure.reason.as_str());
                }
            }
            let wait = FIRST_WAIT.saturating_mul(1 << tries.min(10));
            let wait = wait.min(shared.config.reconnect_max);
            tries += 1;
            tokio::time::sleep(wait.mul_f64(1.0 - fastrand::f64() / 2.0)).await;
        }
    }

    async fn connect(&self) -> Result<Up, Failure> {
        let shared = &self.shared;
        let limit = shared.config.timeout;
        let wires = Wires { token: CancellationToken::new() };
        let ending = Arc::<Ending>::default();
        let name = format!("{}-{}", shared.config.application_name, shared.node);
        let making = |dsn| Making {
            dsn,
            name: &name,
            timeout: limit,
            tasks: &self.wires,
            wires: &wires,
            ending: &ending,
        };
        let (writer, reader, follower, listener) = tokio::try_join!(
            making(&self.dsn).client(None),
            making(&self.dsn).client(None),
            making(&self.dsn).client(None),
            making(&self.listen).client(Some(Arc::clone(&shared.bell))),
        )?;
        if shared.config.listen_url.is_some() {
            let which =
                "SELECT (SELECT oid FROM pg_database WHERE datname = current_database())::int8,
                extract(epoch FROM pg_postmaster_start_time())::text";
            let ask = |client| timed(limit, Client::query_typed_one(client, which, &[]));
            let (ours, heard) = tokio::try_join!(ask(&reader), ask(&listener))?;
            let which = |row: &Row| (row.get::<_, i64>(0), row.get::<_, String>(1));
            if which(&ours) != which(&heard) {
                return Err(Failure::new("the address to listen at leads to another database"));
            }
        }
        rights::check(&reader, shared).await?;
        schema::migrate(&reader, shared).await?;
        let id = shared.look_with(&reader).await?.view.id;
        // What is appended after this rings.
        timed(limit, listener.batch_execute(&format!("LISTEN tavern_{id}"))).await?;
        let newest = "SELECT coalesce(max(number), 0) FROM tavern.live WHERE namespace = $1";
        let live = timed(limit, reader.query_typed_one(newest, &[(&id, Type::INT4)])).await?.get(0);
        let state = shared.look_with(&reader).await?;
        let server = same_server([&reader, &writer, &follower], limit).await?;
        let (of_reader, of_listener) =
            tokio::try_join!(line::idle(&reader, limit), line::idle(&listener, limit))?;
        let idle = of_reader.min(of_listener);
        let session = Arc::new(Session::new([writer, reader, follower], server, ending));
        shared.session.send_replace(Some(Arc::clone(&session)));
        shared.health.link_is_up();
        let restored = Inbound::Restored(state, live, Arc::clone(&session));
        // It fails only where the backend is closing.
        let _ = self.inbound.send(restored).await;
        Ok(Up { session, listener, _wires: wires, idle })
    }
}

/// What the server is to all of these. An address may lead to another
/// one from one moment to the next: some of them to one that does not write any more.
async fn same_server(lines: [&Line; 3], limit: Duration) -> Result<String, Failure> {
    let ask = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN tavern.server() END";
    let asked = lines.map(|line| timed(limit, line.query_typed_one(ask, &[])));
    let said = try_join_all(asked).await?;
    let said: Option<Vec<String>> = said.iter().map(|row| row.get(0)).collect();
    let Some(said) = said else {
        return Err(Failure::of_link("the database is a replica and does not write"));
    };
    match said.as_slice() {
        [first, others @ ..] if others.iter().all(|other| other == first) => Ok(first.clone()),
        _ => Err(Failure::of_link("the address leads now to one server, now to another")),
    }
}
