use std::collections::HashSet;

use proptest::prelude::*;

use super::automaton::Automaton;
use super::{FilterSet, TopicFilter};
use crate::{MAX_NAME, Topic};

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

#[track_caller]
fn check(pattern: &str, matching: &[&str], others: &[&str]) {
    for text in matching {
        assert!(filter(pattern).matches(&topic(text)), "{pattern} should match {text}");
    }
    for text in others {
        assert!(!filter(pattern).matches(&topic(text)), "{pattern} should not match {text}");
    }
}

#[test]
fn a_topic_matches_itself_only() {
    check("a/b", &["a/b"], &["a", "a/b/c", "a/B", "b/a"]);
}

#[test]
fn a_star_is_one_segment() {
    check("*", &["a", "*a", "a*b"], &["a/b"]);
    check("a/*", &["a/b"], &["a", "a/b/c", "b/b"]);
    check("*/b/*", &["a/b/c"], &["a/b", "a/c/c", "a/b/c/d"]);
}

#[test]
fn two_stars_are_any_number_of_segments() {
    check("**", &["a", "a/b/c"], &[]);
    check("a/**", &["a", "a/b", "a/b/c"], &["b", "aa", "b/a"]);
    check("**/z", &["z", "a/z", "z/z", "a/b/z"], &["z/a"]);
    check("a/**/z", &["a/z", "a/b/z", "a/z/z"], &["a", "z", "a/z/b"]);
    check("a/**/**/z", &["a/z", "a/b/c/z"], &["a"]);
    check("**/*", &["a", "a/b"], &[]);
    check("*/**/*", &["a/b", "a/b/c"], &["a"]);
    check("**/a/*/b/**", &["a/x/b", "y/a/a/x/b", "a/a/b/b/c"], &["a/b", "a/x/y/b"]);
}

#[test]
fn only_a_whole_segment_is_a_wildcard() {
    check("a/***", &["a/***"], &["a", "a/b", "a/b/c"]);
    check("a*b", &["a*b"], &["ab", "axb"]);
    assert_eq!(filter("a/***").as_topic(), Some(topic("a/***")));
}

#[test]
fn reserved_topics_are_matched_by_name_only() {
    check("$tavern/x", &["$tavern/x"], &[]);
    for pattern in ["**", "*/x", "*", "**/x", "$tavern/*", "$tavern/**", "$tavern/x/**"] {
        check(pattern, &[], &["$tavern/x", "$tavern"]);
    }
    check("a/*", &["a/$b"], &[]);
}

#[test]
fn what_is_no_filter_is_refused() {
    for text in ["", "/", "a/", "/a", "a//b", "a\nb", "a\u{85}", &"a".repeat(MAX_NAME + 1)] {
        assert_eq!(TopicFilter::new(text).unwrap_err().what(), "topic filter", "{text:?}");
    }
    assert!(TopicFilter::new("a".repeat(MAX_NAME)).is_ok());
}

#[test]
fn filters_are_equal_by_their_text() {
    let all: HashSet<_> = ["a", "*", "**", "a/**", "a/**"].map(filter).into();
    assert_eq!(all.len(), 4);
    assert!(filter("**") > filter("*") && filter("a") == topic("a").into());
    assert!(filter("a").as_topic().is_some() && filter("a/*").as_topic().is_none());
}

#[test]
fn the_longest_patterns_fit_into_the_automaton() {
    let most = format!("**/{}", vec!["a"; 126].join("/"));
    assert_eq!(most.len(), 254);
    check(&most, &[&vec!["a"; 126].join("/"), &vec!["a"; 128].join("/")], &["a"]);
    assert!(!filter(&most).matches(&topic(&vec!["a"; 125].join("/"))));
    let stars = format!("{}/**", vec!["*"; 126].join("/"));
    check(&stars, &[&vec!["a"; 126].join("/"), &vec!["b"; 128].join("/")], &["a"]);
    assert!(!filter(&stars).matches(&topic(&vec!["a"; 125].join("/"))));
}

#[test]
fn a_hostile_pattern_looks_at_each_segment_once() {
    for pattern in ["**/a/".repeat(40) + "b", "**/*/".repeat(40) + "a/**", "**/".repeat(80) + "b"] {
        let automaton = Automaton::new(&pattern);
        // A backtracking matcher would take longer than the age of the universe.
        let text = vec!["a"; 128].join("/");
        let mut steps = 0;
        let segments = text.split('/').inspect(|_| steps += 1);
        assert_eq!(automaton.accepts(segments), naive(&pattern, &text), "{pattern}");
        assert_eq!(steps, 128, "{pattern}");
    }
}

#[test]
fn a_set_matches_what_any_of_its_filters_does() {
    let mut set: FilterSet = ["a", "b/*", "c/**"].map(filter).into_iter().collect();
    assert!(!set.insert(filter("a")) && !set.insert(filter("b/*")) && set.len() == 3);
    for text in ["a", "b/1", "c", "c/d/e"] {
        assert!(set.matches(&topic(text)), "{text}");
    }
    assert!(!set.matches(&topic("b")) && !set.matches(&topic("a/b")));
    assert!(set.remove(&filter("a")) && !set.remove(&filter("a")));
    assert!(set.remove(&filter("b/*")) && !set.remove(&filter("b/*")));
    assert!(!set.matches(&topic("a")) && !set.matches(&topic("b/1")) && set.matches(&topic("c/x")));
    assert!(set.remove(&filter("c/**")) && set.is_empty());
}

/// Textbook matching, with a table so that hostile patterns end: `fits[j]` says whether the rest of
/// the pattern fits the rest of the topic from segment `j`.
fn naive(pattern: &str, topic: &str) -> bool {
    let topic: Vec<_> = topic.split('/').collect();
    let mut fits = vec![false; topic.len() + 1];
    fits[topic.len()] = true;
    for part in pattern.rsplit('/') {
        for j in 0..=topic.len() {
            fits[j] = match part {
                "**" => fits[j..].iter().any(|fit| *fit),
                _ => j < topic.len() && fits[j + 1] && (part == "*" || part == topic[j]),
            };
        }
    }
    let wild = pattern.split('/').any(|part| matches!(part, "*" | "**"));
    !(wild && topic[0].starts_with('$')) && fits[0]
}

proptest! {
    #[test]
    fn matching_is_what_the_textbook_says(
        pattern in proptest::collection::vec("a|b|\\*|\\*\\*|\\$", 1..8),
        segments in proptest::collection::vec("a|b|c|\\$", 1..8),
    ) {
        let (pattern, text) = (pattern.join("/"), segments.join("/"));
        prop_assert_eq!(filter(&pattern).matches(&topic(&text)), naive(&pattern, &text));
    }

    #[test]
    fn no_text_panics(text in "[a*/$é\u{0}]{0,300}", other in "[a*/$é]{1,20}") {
        if let (Ok(filter), Ok(topic)) = (TopicFilter::new(&text), Topic::new(&other)) {
            prop_assert_eq!(filter.matches(&topic), naive(&text, &other));
        }
    }
}
