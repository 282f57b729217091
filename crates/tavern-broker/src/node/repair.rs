//! Reading holes from history, and giving up what cannot be read.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tavern_backend::{Error, Lane, Page, ReadQuery};
use tokio::time::Instant;

use super::Reader;
use crate::backoff::Backoff;
use crate::marker::Marker;
use crate::patience::in_time;
use crate::ring::Arrival;
use crate::sequencer::Step;

/// Entries read at once.
const PAGE: usize = 1_024;
/// A page that does not come in time is asked for again as a part of it: a line may be slow.
const LESS: usize = 8;
/// The tries among which the patience is divided.
const TRIES: u32 = 4;

/// The hole that is being read.
#[derive(Default)]
pub(crate) struct Repair {
    pub(super) reading: Option<BoxFuture<'static, Answer>>,
    hole: Option<(u64, u64)>,
    backoff: Backoff,
    /// The rest of a hole of which a part was read: nothing to wait for.
    eager: bool,
    /// How often a page of this hole did not come in time: by so many [`LESS`] the next is smaller.
    smaller: u32,
    /// What was told to be removed, until there is no hole any more.
    told: Told,
    /// Since when the hole could not be read although the link is up.
    failing_since: Option<Instant>,
}

/// What was told to be removed within a hole, which is read in several pages.
#[derive(Debug, Default)]
struct Told {
    lanes: HashMap<Lane, u64>,
    /// Of all lanes, up to here.
    all: u64,
}

impl Told {
    /// What `page` says that was removed above `here` and was not told yet; told from now on.
    fn news(&mut self, page: &Page, here: u64) -> Option<Marker> {
        let known = page.horizon.max(if page.floors_complete { 0 } else { page.head });
        let mut lanes = Vec::new();
        let mut through = known;
        for floor in page.floors.iter().filter(|floor| floor.seq > here.max(self.all)) {
            through = through.max(floor.seq);
            if self.lanes.get(&floor.lane).is_none_or(|told| *told < floor.seq) {
                self.lanes.insert(floor.lane.clone(), floor.seq);
                lanes.push(floor.lane.clone());
            }
        }
        let unknown = known > here.max(self.all);
        if unknown {
            self.all = through;
        }
        let lanes = (!unknown).then_some(lanes);
        let nothing = lanes.as_ref().is_some_and(Vec::is_empty);
        (!nothing).then_some(Marker::Trimmed { lanes, through })
    }
}

/// What came of reading a hole.
#[derive(Debug)]
pub(crate) enum Answer {
    Page(Page),
    Failed(Error),
    /// It did not answer within the patience.
    Silent,
}

impl fmt::Debug for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repair").field("hole", &self.hole).finish_non_exhaustive()
    }
}

impl Repair {
    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }
}

impl Reader {
    /// Reads the first hole, if there is one and it is not being read: a moment later, as pushes
    /// that are only out of order fill it by themselves.
    pub(super) fn plan_repair(&mut self) {
        let hole = self.sequencer.hole();
        if hole.is_none_or(|(from, _)| self.repair.hole.is_none_or(|(old, _)| old != from)) {
            let old = std::mem::take(&mut self.repair);
            self.repair.hole = hole;
            if hole.is_some() {
                (self.repair.eager, self.repair.told) = (old.eager, old.told);
                self.repair.smaller = old.smaller;
            }
        }
        let Some((from, to)) = hole else { return };
        if self.repair.reading.is_some() {
            return;
        }
        let delay = match self.repair.failing_since {
            None if self.repair.eager => Duration::ZERO,
            None => self.node.config.repair_delay,
            Some(_) => self.repair.backoff.next(),
        };
        let patience = self.node.config.repair_patience / TRIES;
        let page = (PAGE / LESS.pow(self.repair.smaller)).max(1);
        let filters = self.node.interest.filters();
        let (bus, mut health) = (self.node.bus.clone(), self.node.bus.health());
        self.repair.reading = Some(
            async move {
                tokio::time::sleep(delay).await;
                // While the link is down no clock runs, and nothing can be read.
                health.wait_up().await;
                let query = ReadQuery::range(from - 1, to).with_limit(page).with_filters(filters);
                match in_time(patience, bus.read(query)).await {
                    Some(Ok(page)) => Answer::Page(page),
                    Some(Err(error)) => Answer::Failed(error),
                    None => Answer::Silent,
                }
            }
            .boxed(),
        );
    }

    pub(super) async fn repaired(&mut self, answer: Answer) {
        let Some((from, to)) = self.sequencer.hole() else { return };
        match answer {
            Answer::Page(page) if page.epoch != self.epoch => {
                // The page is of a log that this node has not followed yet.
                if let Some(head) = self.ask_head().await
                    && head.position.epoch != self.epoch
                {
                    self.follow(&head, None);
                    self.node.learn(head);
                }
            }
            // Pushes may have moved the hole's beginning meanwhile, never its place in the page.
            Answer::Page(page) if page.after < from => self.fill(&page, to),
            Answer::Page(_) => {}
            Answer::Failed(error) => {
                tracing::warn!(%error, from, to, "a hole cannot be read yet");
                self.failed(to, self.node.config.repair_delay);
            }
            Answer::Silent => {
                tracing::warn!(from, to, "a hole cannot be read: the backend does not answer");
                self.repair.smaller = (self.repair.smaller + 1).min(TRIES - 1);
                self.failed(to, self.node.config.repair_patience / TRIES);
            }
        }
    }

    fn fill(&mut self, page: &Page, to: u64) {
        self.node.tallies.repairs.one();
        if page.to > self.sequencer.watermark() {
            self.repair.failing_since = None;
            self.repair.backoff.reset();
        }
        let through = page.to.min(to);
        let mut arrivals = Vec::new();
        if through >= page.after {
            // Lanes that had entries removed above the hole's beginning may have lost some in it.
            let news = self.repair.told.news(page, self.sequencer.watermark());
            arrivals.extend(news.map(Arrival::Marker));
        }
        let entries = page.entries.iter().map(|entry| Step::Entry(Arc::clone(entry)));
        let unreadable = page
            .undecodable
            .iter()
            .map(|(seq, lane)| Step::Undecodable { seq: *seq, lane: lane.clone() });
        let mut found: Vec<Step> = entries.chain(unreadable).collect();
        found.sort_by_key(Step::last);
        let mut steps = std::mem::take(&mut self.steps);
        self.sequencer.fill(found, through, &mut steps);
        self.place(&mut steps, &mut arrivals);
        self.steps = steps;
        self.flush(&mut arrivals);
        if page.to < to && page.to >= page.head {
            self.log_ends_at(page.head);
        } else {
            self.repair.eager = true;
        }
    }

    /// There is nothing to read up to where a probe said there was: the log lost its tail, and the
    /// next append will say so. What was pushed of the tail is not waited for any longer than for
    /// a hole that cannot be read.
    fn log_ends_at(&mut self, head: u64) {
        self.sequencer.retract(head);
        self.probed = self.probed.min(head);
        if let Some((_, to)) = self.sequencer.hole() {
            self.failed(to, Duration::ZERO);
        }
    }

    fn failed(&mut self, to: u64, spent: Duration) {
        if !self.health.get().up {
            self.repair.failing_since = None;
            return;
        }
        let since = *self.repair.failing_since.get_or_insert_with(|| Instant::now() - spent);
        if since.elapsed() < self.node.config.repair_patience {
            return;
        }
        tracing::error!(to, "a hole could not be read and becomes a gap");
        let mut steps = std::mem::take(&mut self.steps);
        let mut arrivals = Vec::new();
        self.sequencer.give_up(to, &mut steps);
        self.place(&mut steps, &mut arrivals);
        self.steps = steps;
        self.flush(&mut arrivals);
        self.repair.stop();
    }
}
