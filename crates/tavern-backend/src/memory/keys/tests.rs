use std::time::Duration;

use super::Keys;
use crate::{LogTime, NodeId, Origin};

fn key(node: u64, counter: u64) -> Origin {
    Origin { node: NodeId::from_u64(node), counter }
}

fn at(seconds: i64) -> LogTime {
    LogTime::from_millis(seconds * 1000)
}

/// Runs 1–3 of node 1 at 1–3, and 1 of node 2 at 4, then 4 of node 1 at 5, then 9 and 8 at 6 and 7.
fn keys() -> Keys {
    let mut keys = Keys::new(Duration::from_secs(300), at(0));
    for (seq, (node, counter)) in
        (1..).zip([(1, 1), (1, 2), (1, 3), (2, 1), (1, 4), (1, 9), (1, 8)])
    {
        keys.insert(key(node, counter), seq, at(0));
    }
    keys
}

#[track_caller]
fn check(keys: &Keys, expected: [Option<u64>; 8]) {
    let found = [(1, 1), (1, 3), (2, 1), (1, 4), (1, 9), (1, 8), (1, 5), (2, 2)]
        .map(|(node, counter)| keys.find(key(node, counter)));
    assert_eq!(found, expected);
}

#[test]
fn each_key_finds_its_seq() {
    let all = [Some(1), Some(3), Some(4), Some(5), Some(6), Some(7), None, None];
    check(&keys(), all);
    assert_eq!(keys().find(key(1, 0)), None);
}

#[test]
fn a_node_that_publishes_alone_is_one_run() {
    let mut keys = Keys::new(Duration::from_secs(300), at(0));
    for n in 1..=1000 {
        keys.insert(key(1, n), n, at(0));
    }
    assert_eq!(keys.nodes[&NodeId::from_u64(1)].len(), 1);
    assert_eq!(keys.find(key(1, 1000)), Some(1000));
    assert_eq!(keys.find(key(1, 1001)), None);
}

#[test]
fn a_rewind_forgets_what_it_lost() {
    let mut keys = keys();
    keys.rewind(4);
    check(&keys, [Some(1), Some(3), Some(4), None, None, None, None, None]);
    keys.rewind(2);
    check(&keys, [Some(1), None, None, None, None, None, None, None]);
    keys.rewind(0);
    assert!(keys.nodes.is_empty());
}

#[test]
fn keys_are_remembered_for_the_window_and_not_for_ever() {
    let mut keys = keys();
    keys.insert(key(3, 1), 8, at(200));
    keys.sweep(at(299));
    assert_eq!(keys.find(key(1, 1)), Some(1));
    keys.sweep(at(400));
    assert_eq!(keys.find(key(1, 1)), None);
    assert_eq!(keys.find(key(3, 1)), Some(8));
}
