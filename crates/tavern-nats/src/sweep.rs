//! Looks after the log: where its head is at what time, which servers it is on, what time it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::link::names;
use crate::log::sample_interval;
use crate::shared::{Session, Shared};

/// How often the servers are asked who they are, and one that does not tell its time for that.
const RARELY: Duration = Duration::from_secs(30);

/// Runs until the backend closes.
pub(crate) async fn run(shared: Arc<Shared>, token: CancellationToken) {
    let mut tick = tokio::time::interval(shared.config.sweep_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rarely = Instant::now();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = token.cancelled() => return,
        }
        let Ok(session) = shared.session() else { continue };
        let due = rarely.elapsed() >= RARELY;
        if due {
            rarely = Instant::now();
        }
        tokio::select! {
            swept = sweep(&shared, &session, due) => {
                if let Err(failure) = swept {
                    session.notice(&failure);
                    tracing::debug!(reason = %failure.reason, "the log cannot be looked after now");
                }
            }
            () = token.cancelled() => return,
        }
    }
}

async fn sweep(shared: &Shared, session: &Session, due: bool) -> Result<(), Failure> {
    if due {
        shared.learn_time(session).await?;
        let state = shared.look(session).await?;
        let known = names(&state.servers, &session.server);
        session.set_servers(shared.connector.ids(&known, &session.server).await);
    }
    let servers = session.servers();
    shared
        .amend(session, |state, meta| {
            let now = state.head.now.as_millis();
            let head = state.head.position.seq;
            let age = state.view.limits.age;
            let sampled = age.is_some_and(|age| meta.sample(now, head, sample_interval(age)));
            // One of the servers was restarted: noted while the others can still tell that nothing
            // was lost.
            let noted = meta.is_of(&servers) && meta.note_servers(&servers);
            Ok(sampled || noted)
        })
        .await
        .map(drop)
}
