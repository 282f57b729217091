//! What this node wants to hear.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tavern_backend::{FilterSet, Topic, TopicFilter};

use crate::names::Names;

/// Channels held for wildcards at most; topics beyond are read from history as they come.
const MOST_BY_WILDCARD: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Interest {
    /// Guards both; never held across an await.
    state: Mutex<Wanted>,
}

#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) filters: FilterSet,
    /// Topics whose channels are subscribed on the link there is, or being subscribed.
    held: HashSet<Topic>,
    /// Whether the channel of all live messages is, which wildcards need: nobody knows beforehand on
    /// which topics they come.
    live: bool,
}

/// Channels to be subscribed, or let go of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Channels {
    pub(crate) topics: Vec<Topic>,
    pub(crate) live: bool,
}

impl Channels {
    /// Their names.
    pub(crate) fn names<'a>(&'a self, names: &'a Names) -> impl Iterator<Item = String> + 'a {
        let live = self.live.then(|| names.live());
        self.topics.iter().map(|topic| names.topic(topic.as_str())).chain(live)
    }
}

impl Interest {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    /// Adds filters. Returns the channels that must be subscribed for them.
    pub(crate) fn add(&mut self, filters: &[TopicFilter]) -> Channels {
        let mut fresh = Channels::default();
        for filter in filters {
            self.filters.insert(filter.clone());
            if let Some(topic) = filter.as_topic()
                && self.held.insert(topic.clone())
            {
                fresh.topics.push(topic);
            }
        }
        fresh.live = !self.live && !self.filters.wildcards().is_empty();
        self.live |= fresh.live;
        fresh
    }

    /// Takes filters out. Returns the channels that nobody needs any more.
    pub(crate) fn remove(&mut self, filters: &[TopicFilter]) -> Channels {
        let mut wildcards = false;
        let mut unwanted = Channels::default();
        for filter in filters {
            self.filters.remove(filter);
            match filter.as_topic() {
                None => wildcards = true,
                Some(topic) if !self.filters.matches(&topic) => {
                    if self.held.remove(&topic) {
                        unwanted.topics.push(topic);
                    }
                }
                Some(_) => {}
            }
        }
        if wildcards {
            let filters = &self.filters;
            let gone = self.held.extract_if(|topic| !filters.matches(topic));
            unwanted.topics.extend(gone);
            unwanted.live = self.live && filters.wildcards().is_empty();
            self.live &= !unwanted.live;
        }
        unwanted
    }

    /// Of topics that a wildcard matches, those whose channels are worth a subscription.
    pub(crate) fn hold(&mut self, topics: Vec<Topic>) -> Channels {
        let mut fresh = Channels::default();
        // The topics asked for by name are held, all of them.
        let by_name = self.filters.len() - self.filters.wildcards().len();
        for topic in topics {
            if self.held.len() < by_name + MOST_BY_WILDCARD
                && self.filters.matches(&topic)
                && self.held.insert(topic.clone())
            {
                fresh.topics.push(topic);
            }
        }
        fresh
    }

    pub(crate) fn holds(&self, topic: &Topic) -> bool {
        self.held.contains(topic)
    }

    /// A new link holds nothing yet: all channels to begin with.
    pub(crate) fn anew(&mut self) -> Channels {
        self.held = self.filters.topics().cloned().collect();
        self.live = !self.filters.wildcards().is_empty();
        Channels { topics: self.held.iter().cloned().collect(), live: self.live }
    }
}

#[cfg(test)]
mod tests;
