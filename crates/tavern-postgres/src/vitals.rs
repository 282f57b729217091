//! Health: up while there is a link, and room on the database's disk.

use std::sync::{Arc, Mutex, PoisonError};

use tavern_backend::{HealthCell, HealthWatch};

#[derive(Debug)]
pub(crate) struct Vitals {
    cell: HealthCell,
    /// Guards the order of changes to `cell` as well.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Why there is no link.
    away: Option<Arc<str>>,
    /// Why nothing can be stored.
    full: Option<Arc<str>>,
}

impl State {
    fn trouble(&self) -> Option<Arc<str>> {
        self.away.as_ref().or(self.full.as_ref()).map(Arc::clone)
    }
}

impl Vitals {
    pub(crate) fn new() -> Self {
        let reason = "not connected yet";
        let state = State { away: Some(reason.into()), full: None };
        Self { cell: HealthCell::down(reason), state: Mutex::new(state) }
    }

    pub(crate) fn watch(&self) -> HealthWatch {
        self.cell.watch()
    }

    pub(crate) fn set_closed(&self) {
        self.cell.set_closed();
    }

    /// The server may be another one: whether it has room, the next append tells.
    pub(crate) fn link_is_up(&self) {
        self.change(|state| *state = State { away: None, full: None });
    }

    pub(crate) fn link_is_down(&self, reason: impl Into<Arc<str>>) {
        self.change(|state| state.away = Some(reason.into()));
    }

    /// Nothing can be stored.
    pub(crate) fn is_full(&self, reason: &str) {
        self.change(|state| {
            if state.full.is_none() {
                tracing::warn!(reason, "nothing can be stored in the database");
            }
            state.full = Some(reason.into());
        });
    }

    /// Something was stored.
    pub(crate) fn has_room(&self) {
        if self.lacks_room() {
            tracing::info!("the database has room again");
            self.change(|state| state.full = None);
        }
    }

    pub(crate) fn lacks_room(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).full.is_some()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if let Some(reason) = state.trouble() {
            self.cell.set_down(reason);
            return;
        }
        // Its callbacks are foreign code, which runs without the lock.
        drop(state);
        self.cell.set_up();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = state.trouble() {
            self.cell.set_down(reason);
        }
    }
}
