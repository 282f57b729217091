//! Filters and rules as the database's regular expressions.

use tavern_backend::{Keep, Retention, TopicFilter};

use crate::number::millis;

/// What matches the same topics. Reserved topics are kept apart by who asks.
pub(crate) fn pattern(filter: &TopicFilter) -> String {
    let mut pattern = "^".to_owned();
    // Whether a segment stands before, so that a slash is due.
    let mut behind = false;
    let segments = filter.as_str().split('/').collect::<Vec<_>>();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match (*segment, behind, last) {
            ("**", true, _) => pattern.push_str("(/[^/]+)*"),
            ("**", false, true) => pattern.push_str("[^/]+(/[^/]+)*"),
            ("**", false, false) => pattern.push_str("([^/]+/)*"),
            (segment, behind_now, _) => {
                if behind_now {
                    pattern.push('/');
                }
                match segment {
                    "*" => pattern.push_str("[^/]+"),
                    text => literal(&mut pattern, text),
                }
                behind = true;
            }
        }
    }
    pattern.push('$');
    pattern
}

/// A text that matches itself.
fn literal(into: &mut String, text: &str) {
    for c in text.chars() {
        // A backslash before a letter or a digit would mean something.
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' {
            into.push('\\');
        }
        into.push(c);
    }
}

/// Rules as the functions take them: the last one matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) patterns: Vec<String>,
    pub(crate) keeps: Vec<i32>,
    pub(crate) ages: Vec<i64>,
}

impl Rules {
    pub(crate) fn new(retention: &Retention) -> Self {
        let rules = || retention.rules.iter();
        let keeps = || rules().map(|rule| rule.keep).chain([retention.default]);
        let patterns = rules().map(|rule| pattern(&rule.topics)).chain(["".to_owned()]);
        Self {
            patterns: patterns.collect(),
            keeps: keeps().map(|keep| entries(&keep)).collect(),
            ages: keeps().map(|keep| millis(keep.age)).collect(),
        }
    }
}

pub(crate) fn entries(keep: &Keep) -> i32 {
    i32::try_from(keep.entries).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
