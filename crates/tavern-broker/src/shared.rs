//! What the parts of one node share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tavern_backend::{Bus, Head, Retention, Scope, Tasks, Topic};

use crate::clock::LogClock;
use crate::config::BrokerConfig;
use crate::counters::Tallies;
use crate::delivery::GapReason;
use crate::event::Event;
use crate::extent::Extent;
use crate::heads::Heads;
use crate::hooks::Hooks;
use crate::interest::Interest;
use crate::pages::Pages;
use crate::ring::Ring;

/// Where canaries go: no wildcard matches it, and nobody else can publish there.
pub(crate) fn canary_topic() -> Option<Topic> {
    Topic::new("$tavern/canary").ok()
}

/// Why a snapshot is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotReason {
    /// A client begins: it has no state yet.
    Connect,
    /// A client has missed entries, for this reason.
    Gap(GapReason),
}

/// A question to the application: what is the state of this topic now?
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SnapshotRequest {
    /// The topic.
    pub topic: Topic,
    /// The subscriber's scope.
    pub scope: Option<Scope>,
    /// Why it is asked.
    pub reason: SnapshotReason,
}

pub(crate) type SnapshotFn =
    dyn Fn(SnapshotRequest) -> BoxFuture<'static, Option<Event>> + Send + Sync;

/// One node: everything its tasks and subscriptions share.
pub(crate) struct Node {
    pub(crate) bus: Bus,
    pub(crate) config: BrokerConfig,
    pub(crate) ring: Arc<Ring>,
    pub(crate) interest: Arc<Interest>,
    pub(crate) heads: Heads,
    pub(crate) pages: Arc<Pages>,
    pub(crate) clock: Arc<LogClock>,
    pub(crate) extent: Arc<Extent>,
    pub(crate) tallies: Arc<Tallies>,
    pub(crate) tasks: Tasks,
    pub(crate) snapshot: Option<Box<SnapshotFn>>,
    pub(crate) hooks: Hooks,
    /// What the log said of itself last.
    known: Mutex<Option<Arc<Head>>>,
    /// Why the backend is believed not to deliver although its link is up.
    doubt: Mutex<Option<&'static str>>,
    /// What was last found that this version cannot read; the node is not ready since.
    unreadable: Mutex<Option<String>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("bus", &self.bus)
            .field("ring", &self.ring)
            .finish_non_exhaustive()
    }
}

impl Node {
    pub(crate) fn new(
        bus: Bus,
        config: BrokerConfig,
        snapshot: Option<Box<SnapshotFn>>,
    ) -> Arc<Self> {
        let tallies = Arc::new(Tallies::default());
        let clock = Arc::new(LogClock::new());
        let extent = Arc::new(Extent::default());
        Arc::new(Self {
            ring: Arc::new(Ring::new(config.ring_bytes)),
            interest: Arc::new(Interest::new(config.linger)),
            heads: Heads::new(
                bus.clone(),
                Arc::clone(&clock),
                Arc::clone(&extent),
                Arc::clone(&tallies),
                config.repair_patience,
            ),
            pages: Pages::new(
                bus.clone(),
                config.page_cache_bytes,
                config.repair_patience,
                Arc::clone(&tallies),
            ),
            clock,
            extent,
            tallies,
            tasks: Tasks::new(),
            snapshot,
            hooks: Hooks::default(),
            known: Mutex::new(None),
            doubt: Mutex::new(None),
            unreadable: Mutex::new(None),
            bus,
            config,
        })
    }

    /// What the log said of itself last; `None` until it was reached once.
    pub(crate) fn known(&self) -> Option<Arc<Head>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn learn(&self, head: Arc<Head>) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
    }

    /// The retention rules in force, as far as known.
    pub(crate) fn retention(&self) -> Option<Arc<Retention>> {
        self.known().map(|head| Arc::clone(&head.retention))
    }

    /// Why the backend does not deliver although its link is up, if so.
    pub(crate) fn doubted(&self) -> Option<&'static str> {
        *self.doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn doubt(&self, reason: Option<&'static str>) {
        *self.doubt.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Whether this node is to prove, where nothing is published, that it would hear of it. `needed`:
    /// there is reason to doubt it.
    pub(crate) fn wants_canary(&self, needed: bool) -> bool {
        // Where everything is live the log has no place for it.
        let retained =
            |rules: Arc<Retention>| canary_topic().is_some_and(|topic| !rules.of(&topic).is_live());
        self.config.canary
            && (self.bus.info().pushes || needed)
            && self.interest.len() > 0
            && self.retention().is_some_and(retained)
    }

    pub(crate) fn unreadable(&self) -> Option<String> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn found_unreadable(&self, what: String) {
        tracing::error!(%what, "the log holds an entry that this version cannot read");
        *self.unreadable.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    /// Waits until this node has what the log has now; at once if the log cannot be asked.
    pub(crate) async fn caught_up(&self) {
        let Ok(head) = self.heads.now().await else { return };
        let head = head.position;
        let mut progress = self.ring.progress();
        // The ring is gone only together with this node.
        drop(
            progress
                .wait_for(|here| {
                    here.is_none_or(|here| here.epoch != head.epoch || here.seq >= head.seq)
                })
                .await,
        );
    }
}
