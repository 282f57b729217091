//! Removes what is too old. One node of the namespace does it at a time.

use std::sync::Arc;

use bytes::Bytes;
use redis::{Value, cmd};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::log::View;
use crate::names::parse_lane;
use crate::number::millis;
use crate::reply::Reply;
use crate::script::{self, Call};
use crate::shared::{Session, Shared};

type Result<T> = std::result::Result<T, Failure>;

/// Lanes of one call.
const LANES: usize = 128;

/// Runs until the backend closes.
pub(crate) async fn run(shared: Arc<Shared>, token: CancellationToken) {
    let mut tick = tokio::time::interval(shared.config.sweep_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = token.cancelled() => return,
        }
        let Ok(session) = shared.session() else { continue };
        tokio::select! {
            swept = sweep(&shared, &session) => {
                if let Err(failure) = swept {
                    session.notice(&failure);
                    tracing::debug!(reason = %failure.reason, "what is too old cannot be removed now");
                }
            }
            () = token.cancelled() => return,
        }
    }
}

/// Goes through all lanes and all nodes once, if it is this node's turn.
async fn sweep(shared: &Shared, session: &Session) -> Result<()> {
    let view = shared.look(session).await?.view;
    if !lease(shared, session, view.keys.sweeper()).await? {
        return Ok(());
    }
    sweep_lanes(shared, session, &view).await?;
    sweep_origins(shared, session, &view).await
}

/// Whether it is this node's turn. It holds a lease that ends by itself, longer than the interval so
/// that one node keeps it.
async fn lease(shared: &Shared, session: &Session, key: String) -> Result<bool> {
    let time = millis(shared.config.sweep_interval.saturating_mul(2)).max(1000);
    let node = shared.node.to_string();
    let mut conn = session.reader.clone();
    let take = cmd("SET").arg(&key).arg(&node).arg("NX").arg("PX").arg(time).clone();
    let taken = conn.send_packed_command(&take).await.and_then(Value::extract_error);
    match taken.map_err(Failure::from) {
        Ok(_) => {}
        // A server that is full takes no lease, and needs the sweep most. It does no harm twice.
        Err(failure) if failure.is_full() => return Ok(true),
        Err(failure) => return Err(failure),
    }
    let holder = conn.send_packed_command(&cmd("GET").arg(&key).clone()).await?.extract_error()?;
    if holder != Value::BulkString(node.into_bytes()) {
        return Ok(false);
    }
    let keep = cmd("PEXPIRE").arg(&key).arg(time).clone();
    conn.send_packed_command(&keep).await?.extract_error()?;
    Ok(true)
}

async fn sweep_lanes(shared: &Shared, session: &Session, view: &View) -> Result<()> {
    let mut scan = Scan::new(session, view.keys.lanes());
    while let Some(names) = scan.next().await? {
        let mut call = Call::new(&script::SWEEP);
        let keys = &view.keys;
        call.key(shared.names.meta()).key(keys.lanes()).key(keys.names()).key(keys.silent());
        call.arg(view.log.as_str()).number(millis(shared.config.lane_memory));
        call.number(millis(shared.config.dedup_window));
        for name in names {
            let Some(lane) = parse_lane(&name) else { continue };
            let Ok(text) = std::str::from_utf8(&name) else { continue };
            let keep = view.retention.of(&lane.topic);
            call.key(keys.stream(text)).key(keys.ids(text)).key(keys.order(text));
            call.arg(text).number(u64::from(keep.entries)).number(millis(keep.age));
        }
        let mut reply = Reply::new(call.run(&mut session.reader.clone()).await?)?;
        if reply.text()? == "ok" && reply.left() > 1 {
            reply.skip();
            let reason = reply.text()?;
            tracing::debug!(%reason, "a lane cannot be swept");
        }
    }
    Ok(())
}

async fn sweep_origins(shared: &Shared, session: &Session, view: &View) -> Result<()> {
    let mut scan = Scan::new(session, view.keys.origins());
    while let Some(names) = scan.next().await? {
        for name in names {
            let Some(node) = std::str::from_utf8(&name).ok().and_then(|n| n.parse().ok()) else {
                continue;
            };
            let mut call = Call::new(&script::FORGET);
            call.key(view.keys.origins()).key(view.keys.origin(node));
            call.bytes(name).number(millis(shared.config.dedup_window));
            // Some at a time.
            loop {
                match call.run(&mut session.reader.clone()).await {
                    Ok(Value::Int(1)) => {}
                    Ok(_) => break,
                    Err(failure) if failure.is_refusal() => {
                        tracing::warn!(reason = %failure.reason, "keys of a node cannot be swept");
                        break;
                    }
                    Err(failure) => return Err(failure),
                }
            }
        }
    }
    Ok(())
}

/// Goes through the members of a sorted set, some at a time.
struct Scan<'a> {
    session: &'a Session,
    key: String,
    cursor: Option<String>,
}

impl<'a> Scan<'a> {
    fn new(session: &'a Session, key: String) -> Self {
        Self { session, key, cursor: Some("0".to_owned()) }
    }

    async fn next(&mut self) -> Result<Option<Vec<Bytes>>> {
        let Some(cursor) = self.cursor.take() else { return Ok(None) };
        let scan = cmd("ZSCAN").arg(&self.key).arg(cursor).arg("COUNT").arg(LANES).clone();
        let answer = self.session.reader.clone().send_packed_command(&scan).await?;
        let mut reply = Reply::new(answer.extract_error()?)?;
        let next = reply.text()?;
        let mut list = reply.list()?;
        let mut names = Vec::new();
        while list.left() > 0 {
            names.push(list.bytes()?);
            list.skip();
        }
        self.cursor = (next != "0").then_some(next);
        Ok(Some(names))
    }
}
