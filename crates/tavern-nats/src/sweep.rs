//! Looks after the log: where its head is at what time, which servers it is on, what time it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::link::names;
use crate::log::{State, sample_interval};
use crate::shared::{Session, Shared};

/// How often the servers are asked who they are, and one that does not tell its time for that.
const RARELY: Duration = Duration::from_secs(30);

/// Runs until the backend closes.
pub(crate) async fn run(shared: Arc<Shared>, token: CancellationToken) {
    let mut tick = tokio::time::interval(shared.config.sweep_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch { asked: Instant::now(), leader: None, doubt: false };
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = token.cancelled() => return,
        }
        let Ok(session) = shared.session() else { continue };
        tokio::select! {
            swept = sweep(&shared, &session, &mut watch) => {
                if let Err(failure) = swept {
                    session.notice(&failure);
                    tracing::debug!(reason = %failure.reason, "the log cannot be looked after now");
                }
            }
            () = token.cancelled() => return,
        }
    }
}

/// What is known of the servers.
#[derive(Debug)]
struct Watch {
    /// When they were asked last.
    asked: Instant,
    leader: Option<String>,
    /// One of them may be another than it was: it is not there, or was not a while ago.
    doubt: bool,
}

impl Watch {
    fn sees(&mut self, state: &State, session: &Session) {
        let leader = state.servers.first();
        self.doubt |= !state.whole
            || self.leader.as_ref() != leader
            || session.servers().values().any(Option::is_none);
        self.leader = leader.cloned();
    }
}

async fn sweep(shared: &Shared, session: &Session, watch: &mut Watch) -> Result<(), Failure> {
    let due = watch.asked.elapsed() >= RARELY;
    if due {
        watch.asked = Instant::now();
    }
    let asks = due || watch.doubt;
    // Unless all of this is done.
    watch.doubt = true;
    if asks {
        let state = shared.look(session).await?;
        let known = names(&state.servers, &session.server);
        session.set_servers(shared.connector.ids(&known, &session.server).await);
    }
    let servers = session.servers();
    let mut changed = false;
    let state = shared
        .amend(session, |state, meta| {
            let head = state.head.position.seq;
            let age = state.view.limits.age;
            let asked = state.asked.as_millis();
            let sampled = age.is_some_and(|age| meta.sample(asked, head, sample_interval(age)));
            let keeps = meta.note_keeps(state.keeps, state.first, head);
            // One of the servers was restarted: noted while the others can still tell that nothing
            // was lost, and only by who has just asked.
            let same = meta.is_of(&servers);
            let noted = asks && same && state.whole && meta.note_servers(&servers);
            changed = asks && meta.has_changed(&servers);
            Ok(sampled || keeps || noted)
        })
        .await?;
    if changed {
        // The next append opens an epoch, over a link that lives as over a new one.
        session.settled.store(false, Ordering::Release);
    }
    // An append may have found them out just before they changed again.
    watch.doubt = changed;
    watch.sees(&state, session);
    // Several servers are asked also where one tells the time: one that is left alone may still
    // answer what it has, but makes nothing.
    if due && (!state.tells_time || state.servers.len() > 1) {
        shared.learn_time(session).await?;
    }
    Ok(())
}
