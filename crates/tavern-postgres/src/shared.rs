//! What the parts of a backend have in common.

use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tavern_backend::{Error, FilterSet, NodeId, Result};
use tokio::sync::{Notify, Semaphore, watch};

use crate::config::PostgresConfig;
use crate::connect::Ending;
use crate::failure::Failure;
use crate::line::Line;
use crate::log::View;
use crate::vitals::Vitals;

/// Pages that are asked for at once: what comes behind them waits for all.
pub(crate) const PAGES_AT_ONCE: usize = 4;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: PostgresConfig,
    pub(crate) node: NodeId,
    pub(crate) health: Vitals,
    /// What this node wants to hear. Held for a look or a change only.
    pub(crate) interest: RwLock<FilterSet>,
    /// The link as it is now; nothing while there is none.
    pub(crate) session: watch::Sender<Option<Arc<Session>>>,
    /// There is something new in the log, or may be.
    pub(crate) bell: Arc<Notify>,
    /// What is known of the log. Guards the pointer only.
    view: Mutex<Option<Arc<View>>>,
}

/// The connections to one server, from the link's coming up to its loss.
pub(crate) struct Session {
    /// Appends, in transactions.
    pub(crate) writer: Line,
    /// Asks, in single statements.
    pub(crate) reader: Line,
    /// Follows the log, in single statements.
    pub(crate) follower: Line,
    /// Which server it is, until it is started again.
    pub(crate) server: String,
    pub(crate) ending: Arc<Ending>,
    /// Pages are asked for so many at once: they may be slow.
    pub(crate) pages: Semaphore,
    /// Bytes of one that comes in time.
    pub(crate) page: AtomicI64,
    /// The database's transactions are of another isolation level than READ COMMITTED, unless they
    /// say which they want.
    pub(crate) explicit: AtomicBool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("ending", &self.ending).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(
        [writer, reader, follower]: [Line; 3],
        server: String,
        ending: Arc<Ending>,
    ) -> Self {
        let pages = Semaphore::new(PAGES_AT_ONCE);
        let (page, explicit) = (AtomicI64::new(i64::MAX), AtomicBool::new(false));
        Self { writer, reader, follower, server, ending, pages, page, explicit }
    }

    /// Looks at a failure: one of the link ends the session.
    pub(crate) fn notice(&self, failure: &Failure) {
        if failure.link {
            self.ending.end(&failure.reason);
        }
    }
}

impl Shared {
    pub(crate) fn new(config: PostgresConfig, node: NodeId) -> Self {
        Self {
            config,
            node,
            health: Vitals::new(),
            interest: RwLock::default(),
            session: watch::Sender::new(None),
            bell: Arc::default(),
            view: Mutex::default(),
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

    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_view(&self, view: Arc<View>) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
    }

    pub(crate) fn wants(&self, topic: &tavern_backend::Topic) -> bool {
        self.interest.read().unwrap_or_else(PoisonError::into_inner).matches(topic)
    }
}
