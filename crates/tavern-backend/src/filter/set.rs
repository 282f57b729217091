//! Many filters at once.

use std::collections::HashSet;

use crate::{Topic, TopicFilter};

/// A set of filters, asked whether any of them matches: exact topics by hash, wildcards one by one.
#[derive(Debug, Clone, Default)]
pub struct FilterSet {
    exact: HashSet<Topic>,
    wild: Vec<TopicFilter>,
}

impl FilterSet {
    /// Adds a filter; `false` if it was there.
    pub fn insert(&mut self, filter: TopicFilter) -> bool {
        if let Some(topic) = filter.as_topic() {
            return self.exact.insert(topic);
        }
        if self.wild.contains(&filter) {
            return false;
        }
        self.wild.push(filter);
        true
    }

    /// Takes a filter out; `false` if it was not there.
    pub fn remove(&mut self, filter: &TopicFilter) -> bool {
        if filter.is_exact() {
            return self.exact.remove(filter.as_str());
        }
        let before = self.wild.len();
        self.wild.retain(|f| f != filter);
        self.wild.len() < before
    }

    /// Whether any filter matches `topic`.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.exact.contains(topic) || self.wild.iter().any(|f| f.matches(topic))
    }

    /// Whether there is no filter in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }

    /// How many filters there are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len() + self.wild.len()
    }

    /// The filters without wildcard, as the topics they match, in no order.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.exact.iter()
    }

    /// The filters with wildcards, in the order they were added.
    #[must_use]
    pub fn wildcards(&self) -> &[TopicFilter] {
        &self.wild
    }
}

impl FromIterator<TopicFilter> for FilterSet {
    fn from_iter<I: IntoIterator<Item = TopicFilter>>(filters: I) -> Self {
        let mut set = Self::default();
        set.extend(filters);
        set
    }
}

impl Extend<TopicFilter> for FilterSet {
    fn extend<I: IntoIterator<Item = TopicFilter>>(&mut self, filters: I) {
        for filter in filters {
            self.insert(filter);
        }
    }
}
