//! Owned tasks: each is joined when its owner closes.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The tasks of one owner, with the token that tells them to end.
///
/// Dropping its last clone tells them to end without waiting for it; [`Tasks::close`] waits. So a
/// task holds the [token](Tasks::token) and not a clone of this.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
    _guard: Arc<DropGuard>,
}

impl Default for Tasks {
    fn default() -> Self {
        let token = CancellationToken::new();
        let guard = Arc::new(token.clone().drop_guard());
        Self { tracker: TaskTracker::new(), token, _guard: guard }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.tracker.len()).finish()
    }
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The token that [`Tasks::cancel`] and [`Tasks::close`] trigger.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Runs `task` until it ends; it should watch [`Tasks::token`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(task);
    }

    /// Tells all tasks to end, and does not wait for it.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Tells all tasks to end and waits until they have.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the tasks stay told; calling again waits for the rest.
    pub async fn close(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests;
