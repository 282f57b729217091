//! Which topics a subscriber wants.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::check_segments;
use crate::{Invalid, Topic};

mod automaton;
mod set;

use automaton::Automaton;

pub use set::FilterSet;

/// A topic, or a pattern of topics: `*` stands for one segment, `**` for zero or more.
///
/// Only a whole segment is a wildcard. In `orders-*` or `a/***` the stars stand for themselves, as
/// they may in a topic. Reserved topics, whose first segment begins with `$`, are matched by their
/// own name only and by no wildcard: see [`Topic::is_reserved`].
///
/// Matching takes one step for each segment of the topic, whatever the pattern. Filters are equal
/// if their texts are; a clone costs a reference count.
///
/// ```
/// use tavern_backend::{Topic, TopicFilter};
///
/// let orders = TopicFilter::new("orders/**")?;
/// assert!(orders.matches(&Topic::new("orders")?));
/// assert!(orders.matches(&Topic::new("orders/7/lines")?));
/// assert!(!TopicFilter::new("orders/*")?.matches(&Topic::new("orders/7/lines")?));
/// # Ok::<(), tavern_backend::Invalid>(())
/// ```
#[derive(Clone)]
pub struct TopicFilter {
    text: Arc<str>,
    pattern: Pattern,
}

/// How the text is compared with a topic.
#[derive(Clone)]
enum Pattern {
    /// No wildcard: the text is a topic.
    Exact,
    /// `*` only: segment by segment.
    Single,
    /// With `**`.
    Multi(Arc<Automaton>),
}

impl TopicFilter {
    /// Parses and validates.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the rule that is broken.
    pub fn new(text: impl AsRef<str>) -> Result<Self, Invalid> {
        let text = text.as_ref();
        check_segments(text).map_err(|reason| Invalid::new("topic filter", reason))?;
        let mut pattern = Pattern::Exact;
        for segment in text.split('/') {
            match segment {
                "**" => {
                    pattern = Pattern::Multi(Arc::new(Automaton::new(text)));
                    break;
                }
                "*" => pattern = Pattern::Single,
                _ => {}
            }
        }
        Ok(Self { text: Arc::from(text), pattern })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The one topic it matches, if it has no wildcard.
    #[must_use]
    pub fn as_topic(&self) -> Option<Topic> {
        self.is_exact().then(|| Topic::from_checked(Arc::clone(&self.text)))
    }

    /// Whether it has no wildcard, and so matches one topic only.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self.pattern, Pattern::Exact)
    }

    /// Whether it matches `topic`.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        match &self.pattern {
            Pattern::Exact => *self.text == *topic.as_str(),

            Pattern::Single | Pattern::Multi(_) if topic.is_reserved() => false,
            Pattern::Single => {
                let mut segments = topic.segments();
                let fit = |s: &str| segments.next().is_some_and(|t| s == "*" || s == t);
                self.text.split('/').all(fit) && segments.next().is_none()
            }
            Pattern::Multi(automaton) => automaton.accepts(topic.segments()),
        }
    }
}

impl PartialEq for TopicFilter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TopicFilter {}

impl PartialOrd for TopicFilter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TopicFilter {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for TopicFilter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
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
        Self { text: topic.into_shared(), pattern: Pattern::Exact }
    }
}

impl From<&Topic> for TopicFilter {
    fn from(topic: &Topic) -> Self {
        topic.clone().into()
    }
}

impl Serialize for TopicFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for TopicFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
