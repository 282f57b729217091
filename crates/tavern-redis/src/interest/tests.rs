use tavern_backend::{Topic, TopicFilter};

use super::{Channels, MOST_BY_WILDCARD, Wanted};
use crate::names::Names;

fn filters(texts: &[&str]) -> Vec<TopicFilter> {
    texts.iter().map(|text| TopicFilter::new(*text).unwrap()).collect()
}

fn topics(texts: &[&str]) -> Vec<Topic> {
    texts.iter().map(|text| Topic::new(*text).unwrap()).collect()
}

fn channels(texts: &[&str], live: bool) -> Channels {
    Channels { topics: topics(texts), live }
}

#[test]
fn a_topic_is_a_channel_once() {
    let mut wanted = Wanted::default();
    assert_eq!(wanted.add(&filters(&["a", "b", "a"])), channels(&["a", "b"], false));
    assert_eq!(wanted.add(&filters(&["a", "c"])), channels(&["c"], false));
    assert_eq!(wanted.remove(&filters(&["b", "x"])), channels(&["b"], false));
    assert!(wanted.holds(&topics(&["a"])[0]) && !wanted.holds(&topics(&["b"])[0]));
    assert_eq!(wanted.add(&filters(&["b"])), channels(&["b"], false));
}

#[test]
fn wildcards_need_the_live_channel_and_no_other() {
    let mut wanted = Wanted::default();
    assert_eq!(wanted.add(&filters(&["t/*"])), channels(&[], true));
    assert_eq!(wanted.add(&filters(&["**"])), channels(&[], false));
    assert_eq!(wanted.remove(&filters(&["t/*"])), channels(&[], false));
    assert_eq!(wanted.remove(&filters(&["**"])), channels(&[], true));
    assert_eq!(wanted.add(&filters(&["t/*"])), channels(&[], true));
}

#[test]
fn topics_seen_under_a_wildcard_are_held_until_it_goes() {
    let mut wanted = Wanted::default();
    wanted.add(&filters(&["t/*", "t/2"]));
    assert_eq!(wanted.hold(topics(&["t/1", "t/2", "u"])), channels(&["t/1"], false));
    assert_eq!(wanted.hold(topics(&["t/1"])), channels(&[], false));
    // Asked for by name it stays, whatever becomes of the wildcard, and the other way round.
    assert_eq!(wanted.add(&filters(&["t/1"])), channels(&[], false));
    assert_eq!(wanted.remove(&filters(&["t/2"])), channels(&[], false));
    assert_eq!(wanted.remove(&filters(&["t/*"])), channels(&["t/2"], true));
    assert!(wanted.holds(&topics(&["t/1"])[0]));
}

#[test]
fn a_new_link_begins_with_what_is_asked_for_by_name() {
    let mut wanted = Wanted::default();
    wanted.add(&filters(&["t/*", "a"]));
    wanted.hold(topics(&["t/1"]));
    assert_eq!(wanted.anew(), channels(&["a"], true));
    assert!(!wanted.holds(&topics(&["t/1"])[0]));
    assert_eq!(wanted.hold(topics(&["t/1"])), channels(&["t/1"], false));
}

/// The bound is on what wildcards hold: what is asked for by name does not count, and what went
/// makes room.
#[test]
fn wildcards_hold_only_so_many() {
    let many = |from: usize, n: usize| {
        (from..from + n).map(|n| Topic::new(format!("t/{n}")).unwrap()).collect::<Vec<_>>()
    };
    let mut wanted = Wanted::default();
    wanted.add(&many(0, 10).into_iter().map(TopicFilter::from).collect::<Vec<_>>());
    wanted.add(&filters(&["t/*"]));
    assert_eq!(wanted.hold(many(0, MOST_BY_WILDCARD + 20)).topics.len(), MOST_BY_WILDCARD);
    assert_eq!(wanted.hold(many(MOST_BY_WILDCARD + 20, 1)).topics.len(), 0);
    let gone = wanted.remove(&filters(&["t/*"]));
    assert_eq!(gone.topics.len(), MOST_BY_WILDCARD);
    wanted.add(&filters(&["t/*"]));
    assert_eq!(wanted.hold(many(10, 50)).topics.len(), 50);
}

#[test]
fn channels_are_named_within_the_namespace() {
    let names = Names::new("shop");
    let named: Vec<_> = channels(&["a/b"], true).names(&names).collect();
    assert_eq!(named, ["{tavern:shop}:t:a/b", "{tavern:shop}:live"]);
}
