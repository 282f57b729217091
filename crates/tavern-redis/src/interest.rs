//! What this node wants to hear.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tavern_backend::{FilterSet, Topic, TopicFilter};

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
    /// How many of them only wildcards want.
    by_wildcard: usize,
}

impl Interest {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    /// Adds filters. Returns the topics whose channels must be subscribed for them.
    pub(crate) fn add(&mut self, filters: &[TopicFilter]) -> Vec<Topic> {
        let mut fresh = Vec::new();
        for filter in filters {
            self.filters.insert(filter.clone());
            if let Some(topic) = filter.as_topic()
                && self.held.insert(topic.clone())
            {
                fresh.push(topic);
            }
        }
        fresh
    }

    /// Takes filters out. Returns the topics whose channels nobody needs any more.
    pub(crate) fn remove(&mut self, filters: &[TopicFilter]) -> Vec<Topic> {
        let mut wildcards = false;
        let mut unwanted = Vec::new();
        for filter in filters {
            self.filters.remove(filter);
            match filter.as_topic() {
                None => wildcards = true,
                Some(topic) if !self.filters.matches(&topic) => {
                    if self.held.remove(&topic) {
                        unwanted.push(topic);
                    }
                }
                Some(_) => {}
            }
        }
        if wildcards {
            let filters = &self.filters;
            let gone = self.held.extract_if(|topic| !filters.matches(topic));
            unwanted.extend(gone);
            self.by_wildcard = self.by_wildcard.min(self.held.len());
        }
        unwanted
    }

    /// Of topics that a wildcard matches, those whose channels are worth a subscription.
    pub(crate) fn hold(&mut self, topics: Vec<Topic>) -> Vec<Topic> {
        let mut fresh = Vec::new();
        for topic in topics {
            if self.by_wildcard < MOST_BY_WILDCARD
                && self.filters.matches(&topic)
                && self.held.insert(topic.clone())
            {
                self.by_wildcard += 1;
                fresh.push(topic);
            }
        }
        fresh
    }

    pub(crate) fn holds(&self, topic: &Topic) -> bool {
        self.held.contains(topic)
    }

    /// A new link holds nothing yet: all topics to begin with.
    pub(crate) fn anew(&mut self) -> Vec<Topic> {
        self.by_wildcard = 0;
        self.held = self.filters.topics().cloned().collect();
        self.held.iter().cloned().collect()
    }
}
