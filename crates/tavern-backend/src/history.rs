//! Reading the log back: queries, pages, floors, the head.

use std::sync::Arc;

use crate::{Entry, Epoch, FilterSet, Lane, Lineage, LogTime, Position, Retention};

/// A request for a range of the log.
#[derive(Debug, Clone)]
pub struct ReadQuery {
    /// Only entries of topics that match; `None` for all.
    pub filters: Option<Arc<FilterSet>>,
    /// Entries above this seq.
    pub after: u64,
    /// Entries up to this seq, itself included. May lie beyond the head.
    pub to: u64,
    /// At most this many entries; the page then ends early. At least 1.
    pub limit: usize,
}

impl ReadQuery {
    /// All entries in `after + 1 ..= to`, 1,024 at most.
    #[must_use]
    pub fn range(after: u64, to: u64) -> Self {
        Self { filters: None, after, to, limit: 1024 }
    }

    /// The same for topics of `filters` only.
    #[must_use]
    pub fn with_filters(mut self, filters: Arc<FilterSet>) -> Self {
        self.filters = Some(filters);
        self
    }

    /// The same with at most `limit` entries.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit.max(1);
        self
    }

    /// Whether the query asks for entries of this lane.
    #[must_use]
    pub fn wants(&self, lane: &Lane) -> bool {
        self.filters.as_ref().is_none_or(|filters| filters.matches(&lane.topic))
    }
}

/// A part of the log, as the primary had it at one moment.
#[derive(Debug, Clone)]
pub struct Page {
    /// The log's epoch at that moment; all seqs count in it.
    pub epoch: Epoch,
    /// The page speaks of `after + 1 ..= to`.
    pub after: u64,
    /// What the query wants up to here is in the page, has expired, or lies below a floor. Never
    /// beyond the log's head; less than asked where the limit or the head came first.
    pub to: u64,
    /// The entries, by seq. Entries removed by age are left out even if the engine still has them;
    /// entries expired by TTL may be in it.
    pub entries: Vec<Arc<Entry>>,
    /// Entries that this version cannot read, by seq.
    pub undecodable: Vec<(u64, Option<Lane>)>,
    /// Of the lanes the query wants, those from which something above `after` and up to `to` was
    /// removed, each once, with their floors. A backend may name more whose floor is above `after`.
    pub floors: Vec<Floor>,
    /// Whether `floors` names all of them. A backend that caps the list says `false`; the caller
    /// then asks again with narrower filters, for which the list must be complete.
    pub floors_complete: bool,
    /// What was removed of lanes that the log remembers nothing else of lies at or below this seq.
    pub horizon: u64,
    /// The log's head at that moment.
    pub head: u64,
}

/// The floor of a lane: the last seq removed from it, by count or by age.
///
/// A cursor below it has missed at least the entry with that seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// The lane.
    pub lane: Lane,
    /// The last seq removed from it.
    pub seq: u64,
}

/// What the log says of itself, as asked now from the primary.
#[derive(Debug, Clone)]
pub struct Head {
    /// The last seq, in the current epoch.
    pub position: Position,
    /// The current epoch and its ancestors.
    pub lineage: Arc<Lineage>,
    /// The log's clock.
    pub now: LogTime,
    /// See [`Page::horizon`].
    pub horizon: u64,
    /// The retention rules in force.
    pub retention: Arc<Retention>,
    /// The wire format in use.
    pub format: u8,
}
