//! Whether a backend can be reached: a value to look at or to wait for, never a guess.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

/// The state of a backend's link.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Health {
    /// Whether the link works, interest confirmed.
    pub up: bool,
    /// Since when it is so.
    pub since: Instant,
    /// How often the link came up, the first time included.
    pub connects: u64,
    /// Why it is down, for a person; `None` while it is up.
    pub reason: Option<Arc<str>>,
    /// Whether the backend was closed by this process: it will not come back.
    pub closed: bool,
}

type Callback = Arc<dyn Fn() + Send + Sync>;

/// The writing side of a [`HealthWatch`], which a backend owns.
pub struct HealthCell {
    state: watch::Sender<Health>,
    /// Guards only the list; callbacks run outside of it.
    callbacks: Arc<Mutex<Vec<Callback>>>,
}

impl fmt::Debug for HealthCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HealthCell").field(&*self.state.borrow()).finish()
    }
}

impl HealthCell {
    /// A backend whose link is up from the start.
    #[must_use]
    pub fn up() -> Self {
        Self::new(Health {
            up: true,
            since: Instant::now(),
            connects: 1,
            reason: None,
            closed: false,
        })
    }

    /// A backend that has not reached its engine yet.
    #[must_use]
    pub fn down(reason: impl Into<Arc<str>>) -> Self {
        let reason = Some(reason.into());
        Self::new(Health { up: false, since: Instant::now(), connects: 0, reason, closed: false })
    }

    fn new(health: Health) -> Self {
        Self { state: watch::Sender::new(health), callbacks: Arc::default() }
    }

    /// Says that the link works. On the rising edge, and only there, the callbacks of
    /// [`HealthWatch::on_up`] run, each once. Returns whether this was the rising edge.
    pub fn set_up(&self) -> bool {
        let rose = self.state.send_if_modified(|health| {
            let rises = !health.up && !health.closed;
            if rises {
                *health = Health {
                    up: true,
                    since: Instant::now(),
                    connects: health.connects + 1,
                    reason: None,
                    closed: false,
                };
            }
            rises
        });
        if rose {
            let callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for callback in callbacks {
                if std::panic::catch_unwind(AssertUnwindSafe(|| callback())).is_err() {
                    tracing::error!("a callback given to on_reconnect panicked");
                }
            }
        }
        rose
    }

    /// Says that the link does not work, and why. Returns whether it worked before.
    pub fn set_down(&self, reason: impl Into<Arc<str>>) -> bool {
        let reason = reason.into();
        let mut fell = false;
        self.state.send_if_modified(|health| {
            if health.closed {
                return false;
            }
            fell = health.up;
            let changed = health.up || health.reason.as_ref() != Some(&reason);
            if fell {
                health.since = Instant::now();
            }
            health.up = false;
            health.reason = Some(reason);
            changed
        });
        fell
    }

    /// Says that the backend was closed; nothing changes it afterwards.
    pub fn set_closed(&self) {
        self.state.send_modify(|health| {
            if health.up {
                health.since = Instant::now();
            }
            health.up = false;
            health.closed = true;
            health.reason = Some(Arc::from("closed"));
        });
    }

    /// A reading side.
    #[must_use]
    pub fn watch(&self) -> HealthWatch {
        HealthWatch { state: self.state.subscribe(), callbacks: Arc::clone(&self.callbacks) }
    }
}

/// The reading side: the state now, and the next change.
#[derive(Clone)]
pub struct HealthWatch {
    state: watch::Receiver<Health>,
    callbacks: Arc<Mutex<Vec<Callback>>>,
}

impl fmt::Debug for HealthWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HealthWatch").field(&*self.state.borrow()).finish()
    }
}

impl HealthWatch {
    /// The state now.
    #[must_use]
    pub fn get(&self) -> Health {
        self.state.borrow().clone()
    }

    /// Waits for the next change after the last one seen by this method. Returns `None` once the
    /// backend is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a change that was not returned is returned by the next call.
    pub async fn changed(&mut self) -> Option<Health> {
        self.state.changed().await.ok()?;
        Some(self.state.borrow_and_update().clone())
    }

    /// Waits until the link is up; at once if it is. Returns `false` if that can never be.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_up(&mut self) -> bool {
        match self.state.wait_for(|health| health.up || health.closed).await {
            Ok(health) => health.up,
            Err(_) => false,
        }
    }

    /// Runs `callback` at each rising edge, on the backend's own task: it must be quick and must
    /// not block. A panic in it is caught and logged.
    pub fn on_up(&self, callback: impl Fn() + Send + Sync + 'static) {
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(callback));
    }
}

#[cfg(test)]
mod tests;
