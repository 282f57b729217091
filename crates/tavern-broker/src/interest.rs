//! What this node asks its backend to push: counted per filter, with a linger and a baseline.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tavern_backend::{Bus, FilterSet, Lineage, Place, Position, TopicFilter};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;

/// Filters handed to the backend in one call.
const BATCH: usize = 1_024;

/// The node's interest. Subscribers count themselves in and out without waiting; one task carries
/// it to the backend, so that the last out and the first in can never overtake each other.
#[derive(Debug)]
pub(crate) struct Interest {
    /// Guards the table only.
    table: Mutex<Table>,
    /// Wakes the task.
    work: Notify,
    /// Moves whenever something was confirmed.
    confirmed: watch::Sender<u64>,
    linger: Duration,
}

#[derive(Debug, Default)]
struct Table {
    wants: HashMap<TopicFilter, Want>,
    /// New filters that the task has not taken up.
    fresh: Vec<TopicFilter>,
    /// Filters that nobody wants any more, and since when.
    idle: Vec<(Instant, TopicFilter)>,
    /// All filters, as a set to match with; made anew when they change.
    set: Option<Arc<FilterSet>>,
    /// The log that the node follows; `None` until it has reached it.
    lineage: Option<Lineage>,
}

#[derive(Debug)]
struct Want {
    users: usize,
    idle_since: Option<Instant>,
    /// The node is complete for this filter above this position; `None` until the backend
    /// confirmed.
    low: Option<Position>,
}

impl Interest {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            table: Mutex::default(),
            work: Notify::new(),
            confirmed: watch::Sender::new(0),
            linger,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a user of `filters` in; dropping the guard counts it out.
    pub(crate) fn acquire(self: &Arc<Self>, filters: &[TopicFilter]) -> Interested {
        let mut fresh = false;
        {
            let mut guard = self.table();
            let table = &mut *guard;
            for filter in filters {
                let want = table.wants.entry(filter.clone()).or_insert_with(|| {
                    fresh = true;
                    table.fresh.push(filter.clone());
                    table.set = None;
                    Want { users: 0, idle_since: None, low: None }
                });
                want.users += 1;
                want.idle_since = None;
            }
        }
        if fresh {
            self.work.notify_one();
        }
        Interested(Lows { interest: Arc::clone(self), filters: filters.into() })
    }

    /// All filters this node wants now: asked for, confirmed or lingering.
    pub(crate) fn filters(&self) -> Arc<FilterSet> {
        let mut table = self.table();
        if let Some(set) = &table.set {
            return Arc::clone(set);
        }
        let set: Arc<FilterSet> = Arc::new(table.wants.keys().cloned().collect());
        table.set = Some(Arc::clone(&set));
        set
    }

    /// How many filters this node wants now.
    pub(crate) fn len(&self) -> usize {
        self.table().wants.len()
    }

    /// The node follows the log of `lineage` from now on. What was complete from a position of an
    /// older epoch on is complete from there on, or from where that epoch ended; what was
    /// confirmed in this epoch already stays as it is.
    pub(crate) fn followed(&self, lineage: &Lineage) {
        let mut guard = self.table();
        let table = &mut *guard;
        for (filter, want) in &mut table.wants {
            let Some(low) = want.low else { continue };
            want.low = carried(low, lineage);
            if want.low.is_none() {
                // Of another log, or of an epoch that the node will come to: it is asked again.
                table.fresh.push(filter.clone());
            }
        }
        let again = !table.fresh.is_empty();
        table.lineage = Some(lineage.clone());
        drop(guard);
        if again {
            self.work.notify_one();
        }
    }

    /// Carries the interest to the backend until `token` ends it, whatever the backend does.
    pub(crate) async fn run(self: Arc<Self>, bus: Bus, token: CancellationToken) {
        tokio::select! {
            biased;
            () = token.cancelled() => {}
            () = self.carry(&bus) => {}
        }
    }

    async fn carry(&self, bus: &Bus) {
        let tick = (self.linger / 4).clamp(Duration::from_millis(5), Duration::from_secs(5));
        let mut backoff = Backoff::default();
        let mut gone: Vec<TopicFilter> = Vec::new();
        let mut waiting: Vec<TopicFilter> = Vec::new();
        loop {
            let pause = if waiting.is_empty() && gone.is_empty() {
                backoff.reset();
                tick
            } else {
                backoff.next()
            };
            tokio::select! {
                biased;
                () = self.work.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            gone.extend(self.take_expired());
            // What is wanted again meanwhile is added below, after it was taken out here.
            if !gone.is_empty() {
                match bus.remove_interest(&gone).await {
                    Ok(()) => gone.clear(),
                    Err(error) => tracing::debug!(%error, "interest could not be taken out yet"),
                }
            }
            waiting.extend(std::mem::take(&mut self.table().fresh));
            while !waiting.is_empty() {
                let batch = &waiting[..waiting.len().min(BATCH)];
                // A filter that is being taken out and wanted again is taken out first.
                if batch.iter().any(|filter| gone.contains(filter)) {
                    break;
                }
                match bus.add_interest(batch).await {
                    Ok(head) => {
                        if !self.confirm(batch, head) {
                            tracing::debug!(%head, "interest waits for the node to follow the log");
                            break;
                        }
                        waiting.drain(..batch.len());
                    }
                    Err(error) => {
                        tracing::debug!(%error, "interest could not be confirmed yet");
                        break;
                    }
                }
            }
        }
    }

    /// The backend pushes what `filters` match above `head`. Returns whether that counts already:
    /// it does not in an epoch that the node has yet to follow.
    fn confirm(&self, filters: &[TopicFilter], head: Position) -> bool {
        let mut guard = self.table();
        let table = &mut *guard;
        let low = match &table.lineage {
            Some(lineage) => carried(head, lineage),
            None => Some(head),
        };
        if low.is_none() {
            return false;
        }
        for filter in filters {
            if let Some(want) = table.wants.get_mut(filter) {
                want.low = low;
            }
        }
        drop(guard);
        self.confirmed.send_modify(|n| *n += 1);
        true
    }

    fn take_expired(&self) -> Vec<TopicFilter> {
        let mut guard = self.table();
        let table = &mut *guard;
        let (linger, now) = (self.linger, Instant::now());
        let mut expired = Vec::new();
        table.idle.retain(|(since, filter)| {
            if now.saturating_duration_since(*since) < linger {
                return true;
            }
            // Only if it has been idle since then without a break, and the backend knows of it.
            if let Some(want) = table.wants.get(filter)
                && want.idle_since == Some(*since)
            {
                if want.low.is_none() {
                    return true;
                }
                table.wants.remove(filter);
                table.set = None;
                expired.push(filter.clone());
            }
            false
        });
        expired
    }
}

/// One subscriber's interest; dropping it counts the subscriber out, and waits for nothing.
#[derive(Debug)]
pub(crate) struct Interested(Lows);

impl Interested {
    /// The baselines of the filters.
    pub(crate) fn lows(&self) -> Lows {
        self.0.clone()
    }
}

impl Drop for Interested {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut guard = self.0.interest.table();
        let table = &mut *guard;
        for filter in &*self.0.filters {
            if let Some(want) = table.wants.get_mut(filter) {
                want.users -= 1;
                if want.users == 0 {
                    want.idle_since = Some(now);
                    table.idle.push((now, filter.clone()));
                }
            }
        }
    }
}

/// The baselines of a set of filters that somebody is interested in.
#[derive(Debug, Clone)]
pub(crate) struct Lows {
    interest: Arc<Interest>,
    filters: Arc<[TopicFilter]>,
}

impl Lows {
    /// Whether this node is complete for all the filters above `position`. Not while it is of
    /// another epoch than the node: one of the two will come to the other's.
    pub(crate) fn complete_above(&self, position: Position) -> bool {
        self.all(|low| low.epoch == position.epoch && low.seq <= position.seq)
    }

    fn all(&self, holds: impl Fn(Position) -> bool) -> bool {
        let table = self.interest.table();
        let low = |filter| table.wants.get(filter).and_then(|want| want.low);
        self.filters.iter().all(|filter| low(filter).is_some_and(&holds))
    }

    /// Waits until the backend has confirmed all the filters.
    pub(crate) async fn confirmed(&self) {
        let mut moved = self.interest.confirmed.subscribe();
        while !self.all(|_| true) {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Where `position` lies in the log of `lineage`, in its current epoch; `None` if it does not tell.
fn carried(position: Position, lineage: &Lineage) -> Option<Position> {
    match lineage.locate(position, u64::MAX) {
        Place::At { seq, .. } | Place::Beyond { fork: seq } => {
            Some(Position::new(lineage.epoch, seq))
        }
        Place::Unknown => None,
    }
}
