//! What the parts of a backend have in common.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_nats::Client;
use tavern_backend::{Error, FilterSet, HealthCell, NodeId, Result};
use tokio::sync::watch;

use crate::api::Api;
use crate::clock::Clock;
use crate::config::NatsConfig;
use crate::connect::{Connector, Ending, Server};
use crate::failure::Failure;
use crate::index::Index;
use crate::log::View;
use crate::names::Names;

/// Pages read at once: each takes requests by the dozen.
const READS: usize = 8;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: NatsConfig,
    pub(crate) names: Names,
    pub(crate) node: NodeId,
    pub(crate) connector: Connector,
    pub(crate) health: HealthCell,
    pub(crate) clock: Clock,
    /// What this node wants to hear. Held for a look or a change only.
    pub(crate) interest: RwLock<FilterSet>,
    /// The link as it is now; nothing while there is none.
    pub(crate) session: watch::Sender<Option<Arc<Session>>>,
    /// What is known of the log. Guards the pointer only.
    view: Mutex<Option<Arc<View>>>,
    /// What lies where in it; nothing until the log was looked at. Never held across an await.
    index: Mutex<Option<Index>>,
    /// One scan at a time; who waited finds what it brought.
    pub(crate) scanning: tokio::sync::Mutex<()>,
    /// Pages that are read at once.
    pub(crate) reads: tokio::sync::Semaphore,
    /// The last seq that is known to have been given out in the current epoch.
    pub(crate) reached: AtomicU64,
}

/// The connections to one server, from the link's coming up to its loss.
#[derive(Debug)]
pub(crate) struct Session {
    /// Publishes.
    pub(crate) writer: Client,
    /// Asks. Publishes and reads have connections of their own: a message that is too large, or a
    /// reader that is too slow, costs the connection.
    pub(crate) api: Api,
    pub(crate) server: Server,
    /// The largest message of the server, headers and all.
    pub(crate) max_payload: usize,
    pub(crate) ending: Arc<Ending>,
    /// The servers that hold the log, and their ids as far as known.
    pub(crate) servers: Mutex<BTreeMap<String, Option<String>>>,
    /// Whether the log was found to be the one it was, or made another, over this link.
    pub(crate) settled: AtomicBool,
    /// Whether what the log's leader was given when it was alone may be stored after it has said
    /// where the head is: so it is before 2.11. A newer one is not to be asked with
    /// [`Api::overtake_nothing`]: 2.15 acknowledges nothing more after that.
    pub(crate) overtaken: bool,
}

impl Session {
    /// Looks at a failure: one of the link ends the session.
    pub(crate) fn notice(&self, failure: &Failure) {
        if failure.link {
            self.ending.end(&failure.reason);
        }
    }

    /// Whether other servers hold the log than the one this link leads to.
    pub(crate) fn has_peers(&self) -> bool {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.keys().any(|name| *name != self.server.name)
    }

    /// Looks at a failure, and says it in the words of what ended the link, if that is it: the
    /// server may have said why it does not answer.
    pub(crate) fn explain(&self, failure: &Failure) -> Failure {
        self.notice(failure);
        let mut failure = failure.clone();
        if failure.link {
            failure.reason = self.ending.reason();
        }
        failure
    }

    pub(crate) fn servers(&self) -> BTreeMap<String, Option<String>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_servers(&self, servers: BTreeMap<String, Option<String>>) {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = servers;
    }
}

impl Shared {
    pub(crate) fn new(config: NatsConfig, node: NodeId, connector: Connector) -> Self {
        Self {
            names: Names::new(&config.namespace),
            config,
            node,
            connector,
            health: HealthCell::down("not connected yet"),
            clock: Clock::default(),
            interest: RwLock::default(),
            session: watch::Sender::new(None),
            view: Mutex::default(),
            index: Mutex::default(),
            scanning: tokio::sync::Mutex::default(),
            reads: tokio::sync::Semaphore::new(READS),
            reached: AtomicU64::new(0),
        }
    }

    /// The link, if there is one.
    pub(crate) fn session(&self) -> Result<Arc<Session>> {
        if let Some(session) = self.session.borrow().as_ref() {
            return Ok(Arc::clone(session));
        }
        let health = self.health.watch().get();
        if health.closed {
            return Err(Error::Closed);
        }
        Err(Error::unavailable(health.reason.as_deref().unwrap_or("not connected")))
    }

    /// Waits until a link is not the one there is any more.
    pub(crate) async fn until_over(&self, session: &Session) {
        let mut links = self.session.subscribe();
        let over = |now: &Option<Arc<Session>>| {
            now.as_ref().is_none_or(|now| !std::ptr::eq(Arc::as_ptr(now), session))
        };
        // The sender is ours.
        let _ = links.wait_for(over).await;
    }

    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Option<Index>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was learnt of the log, unless something newer is known. `head` is where it stood.
    pub(crate) fn set_view(&self, next: &Arc<View>, head: u64) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let old = view.as_ref();
        if let Some(old) = old
            && old.is_same_log(next)
            && (old.is_newer_than(next) || **old == **next)
        {
            return;
        }
        let same_log = old.is_some_and(|old| old.is_same_log(next));
        let same_epoch = same_log && old.is_some_and(|o| o.lineage.epoch == next.lineage.epoch);
        let mut index = self.index();
        let furthest = index.as_ref().map_or(0, Index::furthest);
        // What an index knows of entries that are cut off would be wrong, at whichever of the forks
        // since they were.
        let since = old.map(|old| old.lineage.epoch);
        let forks = &next.lineage.forks;
        let known = forks.iter().position(|fork| Some(fork.parent) == since);
        let lowest = known.and_then(|at| forks[..=at].iter().map(|fork| fork.at).min());
        let cut = !same_epoch && lowest.is_none_or(|at| at < furthest);
        let same_rules = old.is_some_and(|old| {
            old.retention.same_rules(&next.retention) && old.limits == next.limits
        });
        if !same_log || cut || !same_rules || index.is_none() {
            let (retention, limits) = (Arc::clone(&next.retention), next.limits.clone());
            let head = if same_epoch { head.max(furthest) } else { head };
            *index = Some(Index::new(head, next.lineage.epoch, retention, limits));
        } else if let Some(index) = index.as_mut() {
            index.enter(next.lineage.epoch);
        }
        if !same_epoch {
            self.reached.store(0, Ordering::Release);
        }
        *view = Some(Arc::clone(next));
    }

    /// The log has given out this seq.
    pub(crate) fn note_reached(&self, seq: u64) {
        self.reached.fetch_max(seq, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
