//! Whatever is taken for a topic or a filter: parsing does not panic, a filter matches what a
//! plain comparison of segments says, and a set of filters matches what its members do.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tavern_backend::{FilterSet, Topic, TopicFilter};

/// Matches by trying every length for each `**`, in a table instead of by recursion, which takes
/// exponential time on `**/**/**`.
fn matches(filter: &str, topic: &str) -> bool {
    let topic: Vec<_> = topic.split('/').collect();
    // Whether the part of the filter read so far matches the first `n` segments of the topic.
    let mut fits = vec![true];
    fits.resize(topic.len() + 1, false);
    for pattern in filter.split('/') {
        let next = |n: usize| match (pattern, n.checked_sub(1)) {
            ("**", _) => fits[..=n].contains(&true),
            (_, None) => false,
            ("*", Some(last)) => fits[last],
            (name, Some(last)) => fits[last] && topic[last] == name,
        };
        fits = (0..=topic.len()).map(next).collect();
    }
    fits[topic.len()]
}

// The first line is the topic and each other line a filter: a line feed is valid in neither.
fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let Some(Ok(topic)) = lines.next().map(Topic::new) else { return };
    let own = TopicFilter::from(&topic);
    assert!(own.matches(&topic));
    assert_eq!(TopicFilter::new(topic.as_str()), Ok(own));

    let mut set = FilterSet::default();
    let mut filters: Vec<TopicFilter> = Vec::new();
    let mut any = false;
    for filter in lines.filter_map(|line| TopicFilter::new(line).ok()) {
        let text = filter.as_str();
        let wild = text.split('/').any(|segment| matches!(segment, "*" | "**"));
        assert_eq!(filter.as_topic().is_none(), wild);
        // No wildcard matches a reserved topic; what is not wild is matched by name alone.
        let expected = if wild {
            !topic.is_reserved() && matches(text, topic.as_str())
        } else {
            text == topic.as_str()
        };
        assert_eq!(filter.matches(&topic), expected, "{filter:?} on {topic:?}");
        assert_eq!(set.insert(filter.clone()), !filters.contains(&filter));
        if !filters.contains(&filter) {
            filters.push(filter);
        }
        any |= expected;
        assert_eq!(set.matches(&topic), any);
    }

    while let Some(filter) = filters.pop() {
        assert!(set.remove(&filter));
        assert!(!set.remove(&filter));
        assert_eq!(set.matches(&topic), filters.iter().any(|filter| filter.matches(&topic)));
    }
    assert!(set.is_empty());
});
