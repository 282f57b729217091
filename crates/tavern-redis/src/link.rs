//! Keeps the link: finds the primary, connects, restores interest, notices when it is gone, and
//! begins anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value, cmd};
use tavern_backend::{Error, Position, Result, Topic, TopicFilter};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::inbound::{Inbound, Intake};
use crate::locate::Connector;
use crate::shared::{Session, Shared};

/// Channels in one command.
const CHANNELS: usize = 1000;
/// Commands of such on their way at once: the server serves others in between.
const COMMANDS: usize = 4;
/// The wait before the second attempt to connect.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// What the link is asked for.
#[derive(Debug)]
pub(crate) enum Wish {
    Subscribe(Vec<TopicFilter>, oneshot::Sender<Result<Position>>),
    Unsubscribe(Vec<TopicFilter>, oneshot::Sender<()>),
    /// Topics that were seen under a wildcard.
    Hold(Vec<Topic>),
}

#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    connector: Connector,
    wishes: mpsc::Receiver<Wish>,
    intake: Intake,
    token: CancellationToken,
    /// Whether the policy of the server was complained about before.
    warned: bool,
}

/// A link that is up.
struct Up {
    session: Arc<Session>,
    feed: MultiplexedConnection,
}

impl Link {
    pub(crate) fn new(
        shared: Arc<Shared>,
        connector: Connector,
        wishes: mpsc::Receiver<Wish>,
        intake: Intake,
        token: CancellationToken,
    ) -> Self {
        Self { shared, connector, wishes, intake, token, warned: false }
    }

    /// Runs until the backend closes. The first outcome goes to who opens it.
    pub(crate) async fn run(mut self, opened: oneshot::Sender<std::result::Result<(), Failure>>) {
        let mut opened = Some(opened);
        let mut tries = 0_u32;
        while !self.token.is_cancelled() {
            match self.connect_or_refuse().await {
                Some(Ok(up)) => {
                    let since = Instant::now();
                    if let Some(opened) = opened.take() {
                        // Who gave up opening has dropped the backend, which ends this task.
                        let _ = opened.send(Ok(()));
                    }
                    let reason = self.serve(up).await;
                    self.down(&reason).await;
                    if since.elapsed() >= self.shared.config.reconnect_max {
                        tries = 0;
                    } else {
                        // What cuts it as soon as it is there will do so again.
                        self.pause(&mut tries).await;
                    }
                }
                Some(Err(failure)) => {
                    if let Some(opened) = opened.take() {
                        let _ = opened.send(Err(failure));
                        return;
                    }
                    tracing::debug!(reason = %failure.reason, "the server cannot be used yet");
                    self.shared.health.set_down(failure.reason.as_str());
                    self.pause(&mut tries).await;
                }
                None => break,
            }
        }
        self.shared.session.send_replace(None);
    }

    /// Connects; answers wishes meanwhile. `None` if the backend closes.
    async fn connect_or_refuse(&mut self) -> Option<std::result::Result<Up, Failure>> {
        let (shared, intake) = (Arc::clone(&self.shared), self.intake.clone());
        let (token, warned) = (self.token.clone(), self.warned);
        self.warned = true;
        let connecting = connect(&shared, &self.connector, &intake, !warned);
        tokio::pin!(connecting);
        loop {
            tokio::select! {
                () = token.cancelled() => return None,
                up = &mut connecting => return Some(up),
                Some(wish) = self.wishes.recv() => refuse(&shared, wish),
            }
        }
    }

    /// Waits before the next attempt, each time longer; answers wishes meanwhile.
    async fn pause(&mut self, tries: &mut u32) {
        let wait = FIRST_WAIT.saturating_mul(1 << (*tries).min(10));
        let wait = wait.min(self.shared.config.reconnect_max);
        *tries += 1;
        let sleep = tokio::time::sleep(wait.mul_f64(1.0 - fastrand::f64() / 2.0));
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return,
                () = self.token.cancelled() => return,
                Some(wish) = self.wishes.recv() => refuse(&self.shared, wish),
            }
        }
    }

    /// Serves wishes until the link is lost. Returns why.
    async fn serve(&mut self, up: Up) -> String {
        let mut ping = tokio::time::interval(self.shared.config.ping_interval);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut wishes = Vec::new();
        loop {
            tokio::select! {
                () = self.token.cancelled() => return "closed".to_owned(),
                () = up.session.broken.notified() => return up.session.reason(),
                received = self.wishes.recv_many(&mut wishes, 4096) => {
                    if received == 0 {
                        return "closed".to_owned();
                    }
                    if let Err(failure) = grant(&self.shared, &up, &mut wishes).await {
                        return failure.reason;
                    }
                }
                _ = ping.tick() => {
                    if let Err(failure) = up.ping().await {
                        return failure.reason;
                    }
                }
            }
        }
    }

    async fn down(&mut self, reason: &str) {
        self.shared.session.send_replace(None);
        self.shared.health.set_down(reason);
        if !self.token.is_cancelled() {
            tracing::warn!(reason, "the link to the server is lost");
        }
        self.intake.notice(Inbound::Lost(reason.into())).await;
    }
}

impl Up {
    /// Whether all connections still work.
    async fn ping(&self) -> std::result::Result<(), Failure> {
        let ping = |mut conn: MultiplexedConnection| async move {
            conn.send_packed_command(&cmd("PING")).await.and_then(Value::extract_error)
        };
        let session = &self.session;
        let all = tokio::join!(
            ping(self.feed.clone()),
            ping(session.writer.clone()),
            ping(session.reader.clone())
        );
        for answer in [all.0, all.1, all.2] {
            match answer.map_err(Failure::from) {
                Err(failure) if failure.link => return Err(failure),
                // It answers, if only that it is busy.
                _ => {}
            }
        }
        Ok(())
    }
}

async fn connect(
    shared: &Arc<Shared>,
    connector: &Connector,
    intake: &Intake,
    warn: bool,
) -> std::result::Result<Up, Failure> {
    let (address, server) = connector.primary().await?;
    if server.evicts() {
        let policy = &server.eviction;
        if !shared.config.allow_eviction {
            return Err(Failure::lasting(format!(
                "the server may evict any key when its memory is full (`maxmemory-policy {policy}`), \
                 the log's among them: set it to `noeviction` or a `volatile-…` policy, or allow it \
                 (`?allow_eviction=true`) and live with the gaps"
            )));
        }
        if warn {
            tracing::warn!(
                policy,
                "the server may evict the log when its memory is full; what it evicts becomes a gap"
            );
        }
    }
    let writer = connector.connect(&address, None).await?;
    let reader = connector.connect(&address, None).await?;
    let session = Arc::new(Session::new(writer, reader, server));
    let ends = Arc::downgrade(&session);
    let (theirs, interest) = (intake.clone(), Arc::clone(shared));
    let pushes = move |push: PushInfo| {
        match push.kind {
            PushKind::Message | PushKind::SMessage => theirs.push(push.data),
            PushKind::Disconnection => {
                if let Some(session) = ends.upgrade() {
                    session.end("the connection to the server is lost");
                }
            }
            // Nobody asked for it: the cluster moves the slot to another node.
            PushKind::SUnsubscribe if interest.still_wants(&push.data) => {
                if let Some(session) = ends.upgrade() {
                    session.end("the cluster has moved the namespace's slot to another node");
                }
            }
            _ => {}
        }
        Ok::<(), std::convert::Infallible>(())
    };
    let mut feed = connector.connect(&address, Some(Arc::new(pushes))).await?;
    shared.look(&session).await?;

    let mut channels = vec![shared.names.spine()];
    let wanted = shared.interest.lock().anew();
    channels.extend(wanted.names(&shared.names));
    change(&feed, session.subscribe_command(), &channels).await?;
    let state = shared.look_on(&mut feed, &session).await?;
    intake.notice(Inbound::Restored(state.head.position)).await;
    shared.session.send_replace(Some(Arc::clone(&session)));
    shared.health.set_up();
    Ok(Up { session, feed })
}

/// Does what is wished for; many wishes cost as much as one.
async fn grant(
    shared: &Shared,
    up: &Up,
    wishes: &mut Vec<Wish>,
) -> std::result::Result<(), Failure> {
    let mut asked = Vec::new();
    // For each channel, whether it is wanted: what is taken out and put in again while it waits
    // here, or the other way round, must end as it came last.
    let mut wanted = HashMap::new();
    for wish in wishes.drain(..) {
        let mut interest = shared.interest.lock();
        let (channels, on) = match wish {
            Wish::Subscribe(filters, reply) => {
                asked.push(reply);
                (interest.add(&filters), true)
            }
            Wish::Hold(topics) => (interest.hold(topics), true),
            Wish::Unsubscribe(filters, reply) => {
                // Who does not wait any more needs no answer.
                let _ = reply.send(());
                (interest.remove(&filters), false)
            }
        };
        wanted.extend(channels.names(&shared.names).map(|name| (name, on)));
    }
    let of = |on| wanted.iter().filter(move |w| *w.1 == on).map(|w| w.0.clone()).collect();
    let (channels, gone): (Vec<String>, Vec<String>) = (of(true), of(false));
    let mut failed = None;
    if !gone.is_empty() {
        failed = change(&up.feed, up.session.unsubscribe_command(), &gone).await.err();
    }
    if failed.is_none() && !channels.is_empty() {
        failed = change(&up.feed, up.session.subscribe_command(), &channels).await.err();
    }
    let mut head = None;
    if failed.is_none() && !asked.is_empty() {
        // On the feed's own connection: what is pushed from now on lies above.
        match shared.look_on(&mut up.feed.clone(), &up.session).await {
            Ok(state) => head = Some(state.head.position),
            Err(failure) => failed = Some(failure),
        }
    }
    for reply in asked {
        let answer = match (&head, &failed) {
            (Some(head), _) => Ok(*head),
            (None, Some(failure)) => Err(Error::unavailable(&failure.reason)),
            (None, None) => Err(Error::unavailable("the link is lost")),
        };
        let _ = reply.send(answer);
    }
    match failed {
        // Interest that is only half confirmed is confirmed by a new link.
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Sends a command for many channels, in pieces. Each channel is confirmed by the server.
async fn change(
    conn: &MultiplexedConnection,
    command: &'static str,
    channels: &[String],
) -> std::result::Result<(), Failure> {
    let mut running = tokio::task::JoinSet::new();
    for chunk in channels.chunks(CHANNELS) {
        if running.len() >= COMMANDS
            && let Some(done) = running.join_next().await
        {
            done.map_err(|_| Failure::of_link("a task was ended"))??;
        }
        let (mut conn, count) = (conn.clone(), chunk.len());
        let mut pipeline = redis::pipe();
        pipeline.cmd(command).arg(chunk);
        running.spawn(async move {
            let answers = conn.send_packed_commands(&pipeline, 0, count).await;
            let answers = answers.map_err(|error| Failure::from(error).ends_link())?;
            for answer in answers {
                answer.extract_error().map_err(|error| Failure::from(error).ends_link())?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(done) = running.join_next().await {
        done.map_err(|_| Failure::of_link("a task was ended"))??;
    }
    Ok(())
}

/// Answers while there is no link.
fn refuse(shared: &Shared, wish: Wish) {
    match wish {
        Wish::Subscribe(_, reply) => {
            let error =
                shared.session().err().unwrap_or_else(|| Error::unavailable("not connected"));
            // Who does not wait any more needs no answer.
            let _ = reply.send(Err(error));
        }
        Wish::Unsubscribe(filters, reply) => {
            shared.interest.lock().remove(&filters);
            let _ = reply.send(());
        }
        Wish::Hold(_) => {}
    }
}
