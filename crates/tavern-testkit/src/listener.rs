//! A plain reader of a node's feed, for cases about the backend alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tavern_backend::{Bus, BusFeed, Entry, FeedEvent, LiveMessage};

use crate::wait::within;

/// A plain reader of a node's feed: it keeps what was pushed, by seq, and repairs nothing.
#[derive(Debug)]
pub struct Listener {
    feed: BusFeed,
    /// Entries pushed so far, by seq.
    pub entries: BTreeMap<u64, Arc<Entry>>,
    /// Seqs pushed as skips.
    pub skipped: BTreeSet<u64>,
    /// Live messages, in order of arrival.
    pub live: Vec<LiveMessage>,
    ended: bool,
}

impl Listener {
    /// Takes the feed of a node.
    ///
    /// # Panics
    ///
    /// If it is taken.
    #[must_use]
    #[track_caller]
    pub fn new(bus: &Bus) -> Self {
        let feed = bus.feed().expect("the feed is not taken yet");
        Self {
            feed,
            entries: BTreeMap::new(),
            skipped: BTreeSet::new(),
            live: Vec::new(),
            ended: false,
        }
    }

    /// Reads until `done`.
    ///
    /// # Panics
    ///
    /// If it takes too long or the feed ends before.
    #[track_caller]
    pub fn until<'a, D>(&'a mut self, what: &str, done: D) -> impl Future<Output = ()> + use<'a, D>
    where
        D: Fn(&Self) -> bool,
    {
        let wanted = what.to_owned();
        within(what, async move {
            while !done(self) {
                assert!(self.read().await, "the feed ended before: {wanted}");
            }
        })
    }

    /// Reads until the entry or a skip of `seq` was pushed.
    #[track_caller]
    pub fn until_seq(&mut self, seq: u64) -> impl Future<Output = ()> {
        self.until(&format!("the push of seq {seq}"), move |l| {
            l.entries.contains_key(&seq) || l.skipped.contains(&seq)
        })
    }

    /// Reads until the feed ends.
    #[track_caller]
    pub fn until_end(&mut self) -> impl Future<Output = ()> {
        within("the feed ends", async move { while self.read().await {} })
    }

    /// The data of the live messages so far.
    #[must_use]
    pub fn live_texts(&self) -> Vec<&str> {
        self.live.iter().map(|live| live.envelope.data.as_str()).collect()
    }

    async fn read(&mut self) -> bool {
        let Some(batch) = self.feed.recv().await else {
            self.ended = true;
            return false;
        };
        for event in batch {
            match event {
                FeedEvent::Entry(entry) => {
                    self.entries.insert(entry.position.seq, entry);
                }
                FeedEvent::Skip { from, to, .. } => self.skipped.extend(from..=to),
                FeedEvent::Live(live) => self.live.push(live),
                _ => {}
            }
        }
        true
    }
}
