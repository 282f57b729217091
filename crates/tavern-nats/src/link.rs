//! Keeps the link: finds a server, connects, looks at the log, notices when it is gone, and begins
//! anew.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_nats::Client;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::connect::{Ending, Server};
use crate::failure::Failure;
use crate::inbound::Inbound;
use crate::log::State;
use crate::meta::Meta;
use crate::shared::{Session, Shared};

/// The wait before the second attempt to connect.
const FIRST_WAIT: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    inbound: mpsc::Sender<Inbound>,
    token: CancellationToken,
}

/// A link that is up.
struct Up {
    session: Arc<Session>,
    /// Kept: the pushes end with it.
    _feed: Client,
}

impl Link {
    pub(crate) fn new(
        shared: Arc<Shared>,
        inbound: mpsc::Sender<Inbound>,
        token: CancellationToken,
    ) -> Self {
        Self { shared, inbound, token }
    }

    /// Runs until the backend closes. The first outcome goes to who opens it.
    pub(crate) async fn run(self, opened: oneshot::Sender<Result<(), Failure>>) {
        let token = self.token.clone();
        tokio::select! {
            () = self.keep(opened) => {}
            () = token.cancelled() => {}
        }
    }

    async fn keep(self, opened: oneshot::Sender<Result<(), Failure>>) {
        let shared = &self.shared;
        let mut opened = Some(opened);
        let mut tries = 0_u32;
        loop {
            match self.connect().await {
                Ok(up) => {
                    let since = Instant::now();
                    if let Some(opened) = opened.take() {
                        // Who gave up opening has dropped the backend, which ends this task.
                        let _ = opened.send(Ok(()));
                    }
                    up.session.ending.ended.notified().await;
                    let reason = up.session.ending.reason();
                    shared.session.send_replace(None);
                    shared.health.set_down(reason.as_str());
                    tracing::warn!(reason, "the link to the server is lost");
                    shared.connector.put_last(&up.session.server.address);
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
                    tracing::debug!(reason = %failure.reason, "no server can be used yet");
                    shared.health.set_down(failure.reason.as_str());
                }
            }
            let wait = FIRST_WAIT.saturating_mul(1 << tries.min(10));
            let wait = wait.min(shared.config.reconnect_max);
            tries += 1;
            tokio::time::sleep(wait.mul_f64(1.0 - fastrand::f64() / 2.0)).await;
        }
    }

    /// Tries each server once.
    async fn connect(&self) -> Result<Up, Failure> {
        let (mut reasons, mut lasting) = (Vec::new(), None);
        for address in self.shared.connector.addresses() {
            match Box::pin(self.connect_to(&address)).await {
                Ok(up) => return Ok(up),
                // Another one may do.
                Err(failure) if failure.lasting => {
                    lasting.get_or_insert(failure);
                }
                // What is said of all servers is said once.
                Err(Failure { reason, .. }) if reasons.contains(&reason) => {}
                Err(Failure { reason, .. }) => reasons.push(reason),
            }
        }
        Err(lasting.unwrap_or_else(|| Failure::of_link(reasons.join("; "))))
    }

    async fn connect_to(&self, address: &str) -> Result<Up, Failure> {
        let ending = Arc::<Ending>::default();
        tokio::select! {
            biased;
            up = self.bring_up(address, &ending) => up,
            // The server has something against it, and will not answer what was asked.
            () = ending.ended.notified() => {
                Err(Failure::of_link(format!("{address}: {}", ending.reason())))
            }
        }
    }

    async fn bring_up(&self, address: &str, ending: &Arc<Ending>) -> Result<Up, Failure> {
        let shared = &self.shared;
        let client = || shared.connector.client(address, ending);
        let feed = shared.connector.feed(address, ending);
        let (reader, writer, feed) = tokio::try_join!(client(), client(), feed)?;
        let info = reader.server_info();
        if [&writer, &feed].iter().any(|c| c.server_info().server_id != info.server_id) {
            return Err(Failure::of_link(format!("{address}: behind it are different servers")));
        }
        let version = info.version.split('.').map(|n| n.parse().unwrap_or(0)).collect::<Vec<u32>>();
        if version.as_slice() < [2, 9].as_slice() {
            return Err(Failure::lasting(format!(
                "the server is NATS {}, 2.9 or newer is needed",
                info.version
            )));
        }
        if !info.jetstream {
            return Err(Failure::of_link(format!(
                "{address}: JetStream is not enabled on this server (start it with `-js`)"
            )));
        }
        shared.connector.learn(&reader);
        let server =
            Server { address: address.to_owned(), name: info.server_name, id: info.server_id };
        let session = Arc::new(Session {
            writer,
            api: Api::new(reader, shared.config.domain.as_deref(), shared.config.timeout),
            server,
            max_payload: info.max_payload,
            ending: Arc::clone(ending),
            servers: std::sync::Mutex::default(),
            settled: AtomicBool::new(false),
            overtaken: version.as_slice() < [2, 11].as_slice(),
        });
        // The server does not acknowledge a subscription. Whatever comes back over this connection
        // from the log's leader was sent after that has heard of it.
        let pushes = feed.subscribe(format!("{}>", shared.names.feed())).await?;
        let through_feed =
            Api::new(feed.clone(), shared.config.domain.as_deref(), shared.config.timeout);
        shared.look(&session).await?;
        through_feed.stream(&shared.names.log_stream()).await?;
        // Also where the time is told: of servers that are left alone, one may still answer what it
        // has, but none makes anything.
        shared.learn_time(&session).await?;
        let state = shared.look(&session).await?;
        session.set_servers(
            shared.connector.ids(&names(&state.servers, &session.server), &session.server).await,
        );
        if state.view.meta.servers.is_empty() {
            // Before anything can be lost.
            let servers = session.servers();
            let note = |_: &State, meta: &mut Meta| {
                Ok(meta.servers.is_empty() && meta.note_servers(&servers))
            };
            shared.amend(&session, note).await?;
        }
        shared.session.send_replace(Some(Arc::clone(&session)));
        shared.health.set_up();
        // Who hears of it asks at once.
        let _ = self.inbound.send(Inbound::Restored(state.head.position, pushes)).await;
        Ok(Up { session, _feed: feed })
    }
}

/// The servers that hold the log; the one there is, where it is not told.
pub(crate) fn names(servers: &[String], own: &Server) -> Vec<String> {
    if servers.is_empty() { vec![own.name.clone()] } else { servers.to_vec() }
}
