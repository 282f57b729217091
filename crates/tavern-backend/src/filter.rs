//! Which topics a subscriber wants.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::check_segments;
use crate::{Invalid, Topic};

/// A topic, or a pattern of topics: `*` stands for one segment, `**` for zero or more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Parses and validates.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the rule that is broken.
    pub fn new(text: impl AsRef<str>) -> Result<Self, Invalid> {
        let text = text.as_ref();
        check_segments(text).map_err(|reason| Invalid::new("topic filter", reason))?;
        Ok(Self(Arc::from(text)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one topic it matches, if it has no wildcard.
    #[must_use]
    pub fn as_topic(&self) -> Option<Topic> {
        Topic::new(&*self.0).ok()
    }

    /// Whether it matches `topic`.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        *self.0 == *topic.as_str()
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for TopicFilter {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::new(text)
    }
}

impl TryFrom<&str> for TopicFilter {
    type Error = Invalid;
    fn try_from(text: &str) -> Result<Self, Invalid> {
        Self::new(text)
    }
}

impl TryFrom<String> for TopicFilter {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::new(text)
    }
}

impl TryFrom<&String> for TopicFilter {
    type Error = Invalid;
    fn try_from(text: &String) -> Result<Self, Invalid> {
        Self::new(text)
    }
}

impl From<&Self> for TopicFilter {
    fn from(filter: &Self) -> Self {
        filter.clone()
    }
}

impl From<Topic> for TopicFilter {
    fn from(topic: Topic) -> Self {
        Self(Arc::from(topic.as_str()))
    }
}

impl From<&Topic> for TopicFilter {
    fn from(topic: &Topic) -> Self {
        Self(Arc::from(topic.as_str()))
    }
}

impl Serialize for TopicFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TopicFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(text).map_err(serde::de::Error::custom)
    }
}

/// A set of filters, asked whether any of them matches: exact topics by hash, wildcards one by one.
#[derive(Debug, Clone, Default)]
pub struct FilterSet {
    exact: HashMap<Topic, ()>,
    wild: Vec<TopicFilter>,
}

impl FilterSet {
    /// Adds a filter; `false` if it was there.
    pub fn insert(&mut self, filter: TopicFilter) -> bool {
        if let Some(topic) = filter.as_topic() {
            return self.exact.insert(topic, ()).is_none();
        }
        if self.wild.contains(&filter) {
            return false;
        }
        self.wild.push(filter);
        true
    }

    /// Takes a filter out; `false` if it was not there.
    pub fn remove(&mut self, filter: &TopicFilter) -> bool {
        if let Some(topic) = filter.as_topic() {
            return self.exact.remove(&topic).is_some();
        }
        let before = self.wild.len();
        self.wild.retain(|f| f != filter);
        self.wild.len() < before
    }

    /// Whether any filter matches `topic`.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.exact.contains_key(topic) || self.wild.iter().any(|f| f.matches(topic))
    }

    /// Whether there is no filter in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }
}

impl FromIterator<TopicFilter> for FilterSet {
    fn from_iter<I: IntoIterator<Item = TopicFilter>>(filters: I) -> Self {
        let mut set = Self::default();
        for filter in filters {
            set.insert(filter);
        }
        set
    }
}
