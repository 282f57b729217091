//! Judges what a client recorded, knowing only what was published.

mod judge;
mod ledger;
mod record;

use std::collections::{BTreeMap, BTreeSet};

use crate::recorder::Event;
pub use judge::Verdict;
pub use ledger::{Answer, Ledger};
pub use record::Record;

/// Judges the record of one client: complete, in order, once, and nothing of others.
///
/// Publishers number what they publish to each topic from 0; the data is `topic publisher number`.
#[derive(Debug)]
pub struct Oracle {
    publishers: usize,
    each: u64,
    topics: BTreeSet<String>,
    next: BTreeMap<(String, usize), u64>,
    last_seq: u64,
    received: u64,
    gaps: u64,
}

impl Oracle {
    /// A client of `topics`, to each of which each publisher publishes `each` messages.
    #[must_use]
    pub fn new(topics: impl IntoIterator<Item = String>, publishers: usize, each: u64) -> Self {
        let topics = topics.into_iter().collect();
        Self { publishers, each, topics, next: BTreeMap::new(), last_seq: 0, received: 0, gaps: 0 }
    }

    /// Messages that there are for this client.
    #[must_use]
    pub fn expected(&self) -> u64 {
        let topics = u64::try_from(self.topics.len()).unwrap_or(u64::MAX);
        let publishers = u64::try_from(self.publishers).unwrap_or(u64::MAX);
        topics * publishers * self.each
    }

    /// Messages received.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Gaps that were told.
    #[must_use]
    pub const fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Whether all is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let all = self.next.values().filter(|next| **next == self.each).count();
        all == self.topics.len() * self.publishers
    }

    /// Takes the next event.
    ///
    /// # Errors
    ///
    /// What is wrong with it, where it comes.
    pub fn take(&mut self, event: &Event) -> Result<(), String> {
        match event.name.as_str() {
            "tavern-replay-gap" | "tavern-replay-truncated" => {
                self.gaps += 1;
                return Ok(());
            }
            name if name.starts_with("tavern-") => return Ok(()),
            _ => {}
        }
        let wrong = |what: &str| Err(format!("{what}: {event:?}"));
        let mut words = event.data.split(' ');
        let (Some(topic), Some(Ok(publisher)), Some(Ok(number))) =
            (words.next(), words.next().map(str::parse), words.next().map(str::parse::<u64>))
        else {
            return wrong("nobody published this");
        };
        if !self.topics.contains(topic) || publisher >= self.publishers || number >= self.each {
            return wrong("not for this client");
        }
        let Some(seq) = event.id.as_deref().and_then(seq_of) else {
            return wrong("a message without a cursor");
        };
        if seq <= self.last_seq {
            return wrong(&format!("again or out of order behind seq {}", self.last_seq));
        }
        let next = self.next.entry((topic.to_owned(), publisher)).or_default();
        // What is missing is excused only by a gap that was told before.
        if number < *next || (number > *next && self.gaps == 0) {
            return Err(format!("{next} was to come, not {event:?}"));
        }
        *next = number + 1;
        (self.last_seq, self.received) = (seq, self.received + 1);
        Ok(())
    }
}

/// The seq of `1<epoch>-<seq>[~id]`.
pub(crate) fn seq_of(id: &str) -> Option<u64> {
    let cursor = id.split('~').next()?;
    cursor.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests;
