//! Filters and rules as the database's regular expressions.

use tavern_backend::{Keep, Retention, TopicFilter};

use crate::number::millis;

/// Filters of one expression. A session of the database keeps 32 expressions it has read, and reads a
/// further one anew at each topic it holds against it; one of very many filters takes longer than
/// some of fewer.
pub(crate) const WIDTH: i32 = 50;

/// What matches the same topics as any of these, in a few expressions. Reserved topics are kept apart
/// by who asks.
pub(crate) fn any(filters: &[TopicFilter]) -> Vec<String> {
    let some = |some: &[TopicFilter]| {
        let each = some.iter().map(pattern).collect::<Vec<_>>();
        format!("^(?:{})$", each.join("|"))
    };
    filters.chunks(width()).map(some).collect()
}

fn width() -> usize {
    usize::try_from(WIDTH).unwrap_or(1)
}

/// What matches the same topics, as a part of an expression.
fn pattern(filter: &TopicFilter) -> String {
    let mut pattern = String::new();
    // Whether a segment stands before, so that a slash is due.
    let mut behind = false;
    let segments = filter.as_str().split('/').collect::<Vec<_>>();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match (*segment, behind, last) {
            ("**", true, _) => pattern.push_str("(?:/[^/]+)*"),
            ("**", false, true) => pattern.push_str("[^/]+(?:/[^/]+)*"),
            ("**", false, false) => pattern.push_str("(?:[^/]+/)*"),
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

/// Rules as the functions take them: the last one matches everything. Each expression has [`WIDTH`] of
/// them, as its groups; of several that match, the first is told.
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
        let groups = rules().map(|rule| format!("({})", pattern(&rule.topics)));
        let groups: Vec<String> = groups.chain(["(.*)".to_owned()]).collect();
        let patterns = groups.chunks(width()).map(|some| format!("^(?:{})$", some.join("|")));
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
