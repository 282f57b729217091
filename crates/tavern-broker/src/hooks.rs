//! Callbacks of the application: told what streams are told.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use tavern_backend::TopicFilter;

use crate::delivery::{Gap, Reconnected};
use crate::error::{Error, Result};
use crate::overlap;
use crate::subscription::StreamHandle;

type Callback<T> = dyn Fn(&T, &StreamHandle) + Send + Sync;

/// What an application wants to be told of.
pub(crate) enum Call {
    Gap(Box<Callback<Gap>>),
    Reconnected(Box<Callback<Reconnected>>),
}

struct Hook {
    filter: TopicFilter,
    call: Call,
}

/// The callbacks of one broker.
pub(crate) struct Hooks {
    /// Guards the list only, which is never changed in place: callbacks run, and are dropped,
    /// outside of it. `None` once the broker is closed.
    list: Mutex<Option<Arc<[Arc<Hook>]>>>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { list: Mutex::new(Some(Arc::default())) }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("registered", &self.now().len()).finish()
    }
}

impl Hooks {
    pub(crate) fn add(&self, filter: TopicFilter, call: Call) -> Result<()> {
        let hook = Arc::new(Hook { filter, call });
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let hooks = list.as_mut().ok_or(Error::Closed)?;
        *hooks = hooks.iter().cloned().chain([hook]).collect();
        Ok(())
    }

    /// Drops them all, for good: they may hold the broker itself.
    pub(crate) fn close(&self) {
        let hooks = self.list.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(hooks);
    }

    /// Tells those whose topics the gap concerns.
    pub(crate) fn gap(&self, gap: &Gap, stream: &StreamHandle) {
        let hooks = self.now();
        if hooks.is_empty() {
            return;
        }
        let topics: Vec<_> = gap.topics.iter().flat_map(TopicFilter::new).collect();
        for hook in hooks.iter().filter(|hook| hook.concerns(&topics)) {
            if let Call::Gap(callback) = &hook.call {
                call(|| callback(gap, stream));
            }
        }
    }

    /// Tells those whose topics the stream follows.
    pub(crate) fn reconnected(&self, reconnected: &Reconnected, stream: &StreamHandle) {
        for hook in self.now().iter().filter(|hook| hook.concerns(stream.filters())) {
            if let Call::Reconnected(callback) = &hook.call {
                call(|| callback(reconnected, stream));
            }
        }
    }

    fn now(&self) -> Arc<[Arc<Hook>]> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.clone().unwrap_or_default()
    }
}

impl Hook {
    fn concerns(&self, topics: &[TopicFilter]) -> bool {
        topics.iter().any(|topic| overlap::may_share(&self.filter, topic))
    }
}

/// Runs foreign code: what goes wrong in it is not the stream's fault.
fn call(callback: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(callback)).is_err() {
        tracing::error!("a callback panicked; the stream goes on");
    }
}
