//! What the threads of a node share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tavern_backend::{FilterSet, NodeId, TopicFilter};
use tokio::sync::watch;

use crate::config::SqliteConfig;
use crate::failure::{Failure, Outcome};
use crate::place::{FileId, Place};
use crate::schema::{Access, connect};
use crate::vitals::Vitals;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: SqliteConfig,
    pub(crate) place: Place,
    pub(crate) node: NodeId,
    pub(crate) vitals: Vitals,
    pub(crate) interest: Interest,
    pub(crate) stop: Stop,
    /// The file that the writer has looked at and found good. Only the writer decides about a file
    /// that was put in the place of another, under the writers' lock.
    vetted: Mutex<Option<FileId>>,
}

impl Shared {
    pub(crate) fn new(config: SqliteConfig, place: Place, node: NodeId) -> Self {
        Self {
            config,
            place,
            node,
            vitals: Vitals::new(),
            interest: Interest::default(),
            stop: Stop::default(),
            vetted: Mutex::default(),
        }
    }

    pub(crate) fn vet(&self, file: Option<FileId>) {
        *self.vetted.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }

    /// A connection for reading to the file that lies at the path now.
    pub(crate) fn reader(&self) -> Outcome<Session> {
        let id = self.file()?;
        let vetted = *self.vetted.lock().unwrap_or_else(PoisonError::into_inner);
        if vetted != Some(id) {
            return Err(Failure::away("the database file was replaced and is being looked at"));
        }
        let session = Session { conn: connect(&self.place, &self.config, Access::Read)?, id };
        session.check(self)?;
        Ok(session)
    }

    fn file(&self) -> Outcome<FileId> {
        FileId::of(&self.place.db)
            .map_err(|error| Failure::io("the database file cannot be looked at", error))?
            .ok_or_else(|| Failure::away("the database file is gone"))
    }
}

/// A connection, and the file it has open.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) conn: Connection,
    pub(crate) id: FileId,
}

impl Session {
    /// Whether the file is still the one at the path: else everything goes to a file that nobody
    /// else sees.
    pub(crate) fn check(&self, shared: &Shared) -> Outcome<()> {
        if shared.file()? == self.id {
            return Ok(());
        }
        Err(Failure::away("the database file was replaced and is being looked at"))
    }
}

/// What this node wants to get.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    /// Guards only the pointer; the set behind it is never changed.
    filters: Mutex<Arc<FilterSet>>,
}

impl Interest {
    pub(crate) fn now(&self) -> Arc<FilterSet> {
        Arc::clone(&self.filters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add(&self, filters: &[TopicFilter]) {
        let mut set = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        let set = Arc::make_mut(&mut set);
        for filter in filters {
            set.insert(filter.clone());
        }
    }

    pub(crate) fn remove(&self, filters: &[TopicFilter]) {
        let mut set = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        let set = Arc::make_mut(&mut set);
        for filter in filters {
            set.remove(filter);
        }
    }
}

/// Tells the threads to end.
#[derive(Debug)]
pub(crate) struct Stop {
    told: AtomicBool,
    sender: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { told: AtomicBool::new(false), sender: watch::Sender::new(false) }
    }
}

impl Stop {
    /// Returns whether this was the first time.
    pub(crate) fn tell(&self) -> bool {
        let first = !self.told.swap(true, Ordering::AcqRel);
        self.sender.send_replace(true);
        first
    }

    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// Resolves once it was told.
    pub(crate) async fn told(&self) {
        // The sender lives as long as `self`, so this can only end with the word.
        let _ = self.sender.subscribe().wait_for(|told| *told).await;
    }
}
