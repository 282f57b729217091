//! What an engine's author provides: a shared log, and ways to hurt it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tavern_backend::{Backend, Bus, Result, Retention};

/// One fresh, empty namespace on an engine under test.
///
/// [`conformance!`](crate::conformance) makes one for each case. Dropping it removes what it made.
pub trait Rig: fmt::Debug + Send + Sync + 'static {
    /// The backend that is put to the test.
    type Backend: Backend;

    /// Opens one more node of the namespace, configured with these retention rules. The first node
    /// creates the log with them.
    fn open(&self, retention: Retention) -> impl Future<Output = Result<Self::Backend>> + Send;

    /// Restarts the engine, when all nodes are gone. What it promised to keep is there afterwards.
    fn restart(&self) -> impl Future<Output = Result<()>> + Send;

    /// Remembers the log as it is now, as a replica or a backup does.
    fn checkpoint(&self) -> impl Future<Output = Result<()>> + Send;

    /// Puts the log back to the last checkpoint behind the back of the nodes that are open: what
    /// was appended since is lost, as in a failover to a replica that lagged. The engine's
    /// incarnation is another one afterwards.
    fn rewind(&self) -> impl Future<Output = Result<()>> + Send;
}

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The object-safe twin of [`Rig`], so that cases are compiled once for all engines.
pub(crate) trait DynRig: fmt::Debug + Send + Sync + 'static {
    fn open(&self, retention: Retention) -> BoxFuture<'_, Result<Bus>>;
    fn restart(&self) -> BoxFuture<'_, Result<()>>;
    fn checkpoint(&self) -> BoxFuture<'_, Result<()>>;
    fn rewind(&self) -> BoxFuture<'_, Result<()>>;
}

impl<R: Rig> DynRig for R {
    fn open(&self, retention: Retention) -> BoxFuture<'_, Result<Bus>> {
        Box::pin(async move { Rig::open(self, retention).await.map(Bus::new) })
    }
    fn restart(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(Rig::restart(self))
    }
    fn checkpoint(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(Rig::checkpoint(self))
    }
    fn rewind(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(Rig::rewind(self))
    }
}
