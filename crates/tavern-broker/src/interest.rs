//! What this node asks its backend to push: counted per filter, with a linger and a baseline.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tavern_backend::{Bus, FilterSet, Position, TopicFilter};
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
}

#[derive(Debug)]
struct Want {
    users: usize,
    idle_since: Option<Instant>,
    /// The node is complete for this filter above this seq; `None` until the backend confirmed.
    low: Option<u64>,
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

    /// The log was cut back to `fork`: what is complete above a higher seq is complete above it.
    pub(crate) fn rewound(&self, fork: u64) {
        for want in self.table().wants.values_mut() {
            want.low = want.low.map(|low| low.min(fork));
        }
    }

    /// Carries the interest to the backend until `token` ends it.
    pub(crate) async fn run(self: Arc<Self>, bus: Bus, token: CancellationToken) {
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
                () = token.cancelled() => return,
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
                        self.confirm(batch, head);
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

    fn confirm(&self, filters: &[TopicFilter], head: Position) {
        let mut table = self.table();
        for filter in filters {
            if let Some(want) = table.wants.get_mut(filter) {
                want.low = Some(head.seq);
            }
        }
        drop(table);
        self.confirmed.send_modify(|n| *n += 1);
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
    /// The seq above which this node is complete for all the filters; `None` until all are
    /// confirmed.
    pub(crate) fn low(&self) -> Option<u64> {
        let table = self.interest.table();
        self.filters.iter().try_fold(0, |low, filter| {
            table.wants.get(filter).and_then(|want| want.low).map(|l| l.max(low))
        })
    }

    /// Waits until the backend has confirmed all the filters.
    pub(crate) async fn confirmed(&self) {
        let mut moved = self.interest.confirmed.subscribe();
        while self.low().is_none() {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }
}
