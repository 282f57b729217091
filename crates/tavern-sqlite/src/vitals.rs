//! Health: up as long as both the writer and the feed can do their work.

use std::sync::{Arc, Mutex, PoisonError};

use tavern_backend::{HealthCell, HealthWatch};

/// Whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Writer,
    Feed,
}

#[derive(Debug)]
pub(crate) struct Vitals {
    cell: HealthCell,
    /// Why a part cannot work; guards the order of changes to `cell` as well.
    troubles: Mutex<[Option<Arc<str>>; 2]>,
}

impl Vitals {
    pub(crate) fn new() -> Self {
        Self { cell: HealthCell::up(), troubles: Mutex::default() }
    }

    pub(crate) fn watch(&self) -> HealthWatch {
        self.cell.watch()
    }

    pub(crate) fn fails(&self, part: Part, reason: impl Into<Arc<str>>) {
        let reason = reason.into();
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        troubles[index(part)] = Some(Arc::clone(&reason));
        if self.cell.set_down(Arc::clone(&reason)) {
            tracing::warn!(%reason, "the SQLite backend is down");
        }
    }

    pub(crate) fn works(&self, part: Part) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles[index(part)].take().is_none() {
            return;
        }
        if let Some(other) = troubles.iter().flatten().next() {
            self.cell.set_down(Arc::clone(other));
            return;
        }
        // The callbacks of the rising edge are foreign code: they run without the lock. A failure
        // that comes in between is told by the next call of `fails`.
        drop(troubles);
        if self.cell.set_up() {
            tracing::info!("the SQLite backend is up again");
        }
    }

    pub(crate) fn is_failing(&self, part: Part) -> bool {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)[index(part)].is_some()
    }

    pub(crate) fn closed(&self) {
        self.cell.set_closed();
    }
}

fn index(part: Part) -> usize {
    match part {
        Part::Writer => 0,
        Part::Feed => 1,
    }
}
