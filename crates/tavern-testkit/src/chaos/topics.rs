//! What is published where, and who follows what.

use tavern_backend::{Topic, TopicFilter};

/// Entries that the log keeps of a shallow topic: who is away for seconds gets a gap.
pub(super) const SHALLOW: u32 = 16;

/// The scopes beside none.
const SCOPES: [&str; 2] = ["red", "blue"];

/// A topic and its scope.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) topic: Topic,
    pub(super) scope: Option<&'static str>,
}

/// What a client follows.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) filters: Vec<String>,
    pub(super) scope: Option<String>,
    /// How many topics these are.
    pub(super) topics: usize,
}

/// All lanes: deep ones without a scope, deep ones with, shallow ones.
pub(super) fn lanes() -> Vec<Lane> {
    let deep = (0..12).map(|n| (format!("chaos/deep/{}/{n}", n / 4), None));
    let scoped = SCOPES
        .into_iter()
        .flat_map(|scope| (0..4).map(move |n| (format!("chaos/deep/{}/{n}", n / 4), Some(scope))));
    let shallow = (0..4).map(|n| (format!("chaos/shallow/{n}"), None));
    let all = deep.chain(scoped).chain(shallow);
    all.filter_map(|(topic, scope)| Some(Lane { topic: Topic::new(topic).ok()?, scope })).collect()
}

/// What the `n`th client follows.
pub(super) fn wish(n: usize) -> Wish {
    let deep = |n: usize| format!("chaos/deep/{}/{}", n % 12 / 4, n % 12);
    let of = n / 6;
    let (filters, scope) = match n % 6 {
        0 => (vec![deep(of)], None),
        1 => (vec![deep(of), deep(of + 5), deep(of + 7)], None),
        2 => (vec![format!("chaos/deep/{}/*", of % 3)], None),
        3 => (vec!["chaos/**".to_owned()], Some(SCOPES[of % 2].to_owned())),
        4 if of.is_multiple_of(2) => (vec!["chaos/shallow/*".to_owned()], None),
        4 => (vec![format!("chaos/shallow/{}", of % 4), deep(of)], None),
        _ if of.is_multiple_of(4) => (vec!["chaos/**".to_owned()], None),
        _ => (vec![deep(of), format!("chaos/deep/{}/*", of % 3)], None),
    };
    let wanted = filters.iter().filter_map(|f| TopicFilter::new(f).ok()).collect::<Vec<_>>();
    let lanes = lanes().into_iter().filter(|lane| {
        lane.scope == scope.as_deref() && wanted.iter().any(|f| f.matches(&lane.topic))
    });
    Wish { topics: lanes.count(), filters, scope }
}
