//! History for resuming subscribers: aligned pages, read once for all who need them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tavern_backend::{Bus, Epoch, Error, FilterSet, Lane, Page, ReadQuery};

use crate::counters::Tallies;
use crate::frame::Frame;
use crate::patience::in_time;

/// Seqs of a page of everything.
const PAGE: u64 = 128;
/// Where pages of some topics begin, for who comes from far: at multiples of this, to be shared.
const FAR_PAGE: u64 = 8_192;
/// Where they begin if such a page does not reach the reader: no page of theirs, full, is shorter.
const FAR_STEP: u64 = 512;
/// How far behind the head a reader may be to be served with pages of everything.
const NEAR: u64 = 64 * PAGE;
/// Entries of a page of some topics.
const FAR_ENTRIES: usize = 512;

type Answer = Result<Arc<HistoryPage>, Arc<Error>>;
type Read = BoxFuture<'static, Answer>;

/// The page cache, bounded in bytes, oldest read first out.
#[derive(Debug)]
pub(crate) struct Pages {
    bus: Bus,
    tallies: Arc<Tallies>,
    budget: usize,
    /// How long the log is given to answer: one read that hangs holds nobody up for good.
    patience: Duration,
    /// Guards the cache only; calls run outside of it.
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    pages: HashMap<Key, Held>,
    order: VecDeque<(Key, u64)>,
    bytes: usize,
    reads: u64,
}

#[derive(Debug)]
struct Held {
    page: Reading,
    read: u64,
    bytes: usize,
    /// Where it ends, if the log may have gone on from there since.
    ends: Option<u64>,
}

/// A page in the cache.
#[derive(Debug)]
enum Reading {
    /// It is being read, by those who wait for it: once they are gone the read ends.
    Underway(WeakShared<Read>),
    Done(Arc<HistoryPage>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    epoch: Epoch,
    /// The filters' text; empty for everything.
    filters: Arc<str>,
    after: u64,
    to: u64,
}

/// A page with its entries encoded, once for all who read it.
#[derive(Debug)]
pub(crate) struct HistoryPage {
    pub(crate) page: Page,
    /// By seq.
    pub(crate) items: Vec<HistoryItem>,
}

/// Something in a page.
#[derive(Debug, Clone)]
pub(crate) enum HistoryItem {
    Frame(u64, Arc<Frame>),
    Undecodable(u64, Option<Lane>),
}

impl HistoryItem {
    pub(crate) fn seq(&self) -> u64 {
        match self {
            Self::Frame(seq, _) | Self::Undecodable(seq, _) => *seq,
        }
    }
}

impl HistoryPage {
    fn new(mut page: Page) -> Self {
        let frames = page
            .entries
            .drain(..)
            .map(|entry| HistoryItem::Frame(entry.position.seq, Arc::new(Frame::entry(&entry))));
        let mut items: Vec<_> = frames.collect();
        let unreadable = page.undecodable.drain(..);
        items.extend(unreadable.map(|(seq, lane)| HistoryItem::Undecodable(seq, lane)));
        items.sort_by_key(HistoryItem::seq);
        Self { page, items }
    }

    fn weight(&self) -> usize {
        let items: usize = self
            .items
            .iter()
            .map(|item| match item {
                HistoryItem::Frame(_, frame) => frame.weight(),
                HistoryItem::Undecodable(..) => 64,
            })
            .sum();
        items + self.page.floors.len() * 96 + 512
    }
}

/// What a reader wants of history.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) filters: Arc<FilterSet>,
    /// The same as text: equal for equal sets.
    pub(crate) key: Arc<str>,
}

impl Pages {
    pub(crate) fn new(
        bus: Bus,
        budget: usize,
        patience: Duration,
        tallies: Arc<Tallies>,
    ) -> Arc<Self> {
        Arc::new(Self { bus, tallies, budget, patience, cache: Mutex::default() })
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page that speaks of `seq + 1` on, read after the call if it had not been read before.
    /// `head` is the log's head as last known: it decides how far there is to go.
    ///
    /// The page may begin below `seq`, and ends above it unless the log does not.
    pub(crate) async fn get(
        self: &Arc<Self>,
        epoch: Epoch,
        seq: u64,
        head: u64,
        wanted: &Wanted,
    ) -> Answer {
        if head.saturating_sub(seq) <= NEAR {
            let page = self.aligned(epoch, seq, head, PAGE, None).await?;
            // A list of floors that was cut says nothing: ask for these topics alone.
            if page.page.floors_complete {
                return Ok(page);
            }
        }
        self.aligned(epoch, seq, head, FAR_PAGE, Some(wanted)).await
    }

    async fn aligned(
        self: &Arc<Self>,
        epoch: Epoch,
        seq: u64,
        head: u64,
        size: u64,
        wanted: Option<&Wanted>,
    ) -> Answer {
        let mut after = seq - seq % size;
        // Pages of some topics end where they are full, wherever that is.
        let to = if wanted.is_some() { u64::MAX } else { after.saturating_add(size) };
        let mut page = self.page(epoch, after, to, head, wanted).await?;
        let fine = if wanted.is_some() { FAR_STEP } else { size };
        if page.page.to <= seq && page.page.epoch == epoch && seq - seq % fine > after {
            // Much of what is wanted lies close together: nearer places to begin, shared as well.
            after = seq - seq % fine;
            page = self.page(epoch, after, to, head, wanted).await?;
        }
        // Cut short below the reader, by its bounds or by the head of that moment: on from where it
        // ends, and not from where this one reader stands, so that those near it share that, too.
        while page.page.to <= seq && page.page.to > after && page.page.epoch == epoch {
            after = page.page.to;
            page = self.page(epoch, after, to, head, wanted).await?;
        }
        if page.page.to > seq || page.page.epoch != epoch || after == seq {
            return Ok(page);
        }
        self.page(epoch, seq, to, head, wanted).await
    }

    async fn page(
        self: &Arc<Self>,
        epoch: Epoch,
        after: u64,
        to: u64,
        head: u64,
        wanted: Option<&Wanted>,
    ) -> Answer {
        let filters = wanted.map_or_else(|| Arc::from(""), |wanted| Arc::clone(&wanted.key));
        let key = Key { epoch, filters, after, to };
        let call = {
            let mut guard = self.cache();
            let cache = &mut *guard;
            // One that ends below the head is read again: once for all who know of that head.
            let held = cache.pages.get(&key);
            let held = held.filter(|held| held.ends.is_none_or(|ends| ends >= head));
            let underway = match held.map(|held| &held.page) {
                Some(Reading::Done(page)) => {
                    self.tallies.page_hits.one();
                    return Ok(Arc::clone(page));
                }
                Some(Reading::Underway(call)) => call.upgrade(),
                None => None,
            };
            if underway.is_some() {
                self.tallies.page_hits.one();
            }
            underway.unwrap_or_else(|| {
                cache.reads += 1;
                let call = self.read(&key, cache.reads, wanted);
                if let Some(weak) = call.downgrade() {
                    let page = Reading::Underway(weak);
                    let held = Held { page, read: cache.reads, bytes: 0, ends: None };
                    if let Some(old) = cache.pages.insert(key, held) {
                        cache.bytes = cache.bytes.saturating_sub(old.bytes);
                    }
                }
                call
            })
        };
        call.await
    }

    fn read(self: &Arc<Self>, key: &Key, read: u64, wanted: Option<&Wanted>) -> Shared<Read> {
        let mut query = ReadQuery::range(key.after, key.to);
        query = match wanted {
            Some(wanted) => query.with_filters(Arc::clone(&wanted.filters)).with_limit(FAR_ENTRIES),
            None => query.with_limit(usize::try_from(PAGE).unwrap_or(usize::MAX)),
        };
        // Made here: also a read that nobody waits for long enough to begin it leaves the cache.
        let place = Place { pages: Arc::clone(self), key: key.clone(), read };
        async move {
            let Place { pages, key, .. } = &place;
            pages.tallies.page_reads.one();
            let limit = query.limit;
            let page = in_time(pages.patience, pages.bus.read(query)).await;
            let page =
                page.unwrap_or_else(|| Err(Error::unavailable("history does not answer")))?;
            let full = page.to >= key.to || page.entries.len() >= limit;
            let page = Arc::new(HistoryPage::new(page));
            // One with nothing in it says only that the log had not gone on.
            if page.page.epoch == key.epoch && (full || page.page.to > key.after) {
                pages.keep(key, read, &page, (!full).then_some(page.page.to));
            }
            Ok(page)
        }
        .boxed()
        .shared()
    }

    /// Keeps a page that was read. `ends` is where, if it may grow.
    fn keep(&self, key: &Key, read: u64, page: &Arc<HistoryPage>, ends: Option<u64>) {
        let mut guard = self.cache();
        let cache = &mut *guard;
        let Some(held) = cache.pages.get_mut(key).filter(|held| held.read == read) else { return };
        let bytes = page.weight();
        *held = Held { page: Reading::Done(Arc::clone(page)), read, bytes, ends };
        cache.bytes += bytes;
        cache.order.push_back((key.clone(), read));
        let Cache { pages, order, .. } = cache;
        if order.len() > 2 * pages.len() + 64 {
            // What was read again has left its first place behind.
            order.retain(|(key, read)| pages.get(key).is_some_and(|held| held.read == *read));
        }
        while cache.bytes > self.budget {
            let Some((key, read)) = cache.order.pop_front() else { break };
            if cache.pages.get(&key).is_some_and(|held| held.read == read)
                && let Some(held) = cache.pages.remove(&key)
            {
                cache.bytes = cache.bytes.saturating_sub(held.bytes);
            }
        }
    }

    /// Forgets everything: the log forked.
    pub(crate) fn clear(&self) {
        let mut cache = self.cache();
        cache.pages.clear();
        cache.order.clear();
        cache.bytes = 0;
    }
}

/// The place of a read in the cache. It is given up with the read, unless that has left a page:
/// then the page was only for those who waited for it, or there is none.
struct Place {
    pages: Arc<Pages>,
    key: Key,
    read: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut cache = self.pages.cache();
        let Some(held) = cache.pages.get(&self.key) else { return };
        if held.read == self.read && matches!(held.page, Reading::Underway(_)) {
            cache.pages.remove(&self.key);
        }
    }
}
