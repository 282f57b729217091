use tavern_backend::{Topic, TopicFilter};

use super::*;
use crate::names::lane_name;

const LIMITS: Limits =
    Limits { per_subject: None, age: None, closed: true, replicas: 1, largest: None };

fn index(head: u64, keep: Keep) -> Index {
    Index::new(head, Epoch::from_u64(1), Arc::new(Retention::default().with_default(keep)), LIMITS)
}

fn name(topic: &str) -> String {
    lane_name(&Topic::new(topic).unwrap(), None)
}

fn push(index: &mut Index, seq: u64, topic: &str) {
    let time = LogTime::from_millis(i64::try_from(seq).unwrap() * 10);
    index.pushed(Seen { seq, name: &name(topic), time });
}

fn plan(index: &mut Index, after: u64, to: u64) -> (Vec<u64>, Vec<(String, u64)>) {
    let plan = index.plan(None, after, to, 1000, LogTime::from_millis(0));
    assert_eq!(plan.to, to);
    let floors = plan.floors.into_iter().map(|f| (f.lane.topic.to_string(), f.seq)).collect();
    (plan.seqs, floors)
}

#[test]
fn a_lane_keeps_its_newest_and_the_one_before_is_its_floor() {
    let mut index = index(0, Keep::new(2, Duration::ZERO));
    for (seq, topic) in (1..).zip(["a", "b", "a", "a", "a"]) {
        push(&mut index, seq, topic);
    }
    assert_eq!(plan(&mut index, 0, 5), (vec![2, 4, 5], vec![("a".to_owned(), 3)]));
    assert_eq!(plan(&mut index, 3, 5), (vec![4, 5], vec![]));
    assert_eq!(plan(&mut index, 0, 2), (vec![2], vec![("a".to_owned(), 3)]));
}

#[test]
fn pushes_beyond_a_break_wait_for_the_scan() {
    let mut index = index(10, Keep::new(9, Duration::ZERO));
    push(&mut index, 11, "a");
    push(&mut index, 14, "a");
    push(&mut index, 15, "b");
    assert_eq!(index.high(), 11);
    let name = name("c");
    let time = LogTime::from_millis(1);
    // 12 is there, 13 is gone.
    index.scanned_above([Seen { seq: 12, name: &name, time }].into_iter(), 13);
    assert_eq!(index.high(), 15);
    assert_eq!(plan(&mut index, 10, 15).0, [11, 12, 14, 15]);
    push(&mut index, 15, "a");
    push(&mut index, 16, "a");
    assert_eq!(index.high(), 16);
}

#[test]
fn too_many_beyond_a_break_are_left_to_the_scan() {
    let mut index = index(0, Keep::new(1, Duration::ZERO));
    for seq in 2..2 + u64::try_from(AHEAD).unwrap() {
        push(&mut index, seq, "a");
    }
    push(&mut index, 9000, "a");
    assert_eq!(index.ahead.len(), 1);
}

#[test]
fn looking_further_back_gives_the_same_as_having_been_there() {
    let topics = ["a", "b", "a", "c", "a", "b", "b", "a", "c", "b"];
    let stored = (1..).zip(topics).collect::<Vec<_>>();
    for keep in 1..5 {
        let mut there = index(0, Keep::new(keep, Duration::ZERO));
        for (seq, topic) in &stored {
            push(&mut there, *seq, topic);
        }
        for low in 0..10 {
            let mut later = index(low, Keep::new(keep, Duration::ZERO));
            for (seq, topic) in stored.iter().filter(|(seq, _)| *seq > low) {
                push(&mut later, *seq, topic);
            }
            let below = stored.iter().rev().filter(|(seq, _)| *seq <= low);
            let below = below.map(|(seq, topic)| (*seq, name(topic))).collect::<Vec<_>>();
            let time = LogTime::from_millis(0);
            later.scanned_below(below.iter().map(|(seq, name)| Seen { seq: *seq, name, time }), 0);
            for after in 0..10 {
                let (mut one, mut other) =
                    (plan(&mut there, after, 10), plan(&mut later, after, 10));
                one.1.sort();
                other.1.sort();
                assert_eq!(one, other, "keep {keep}, low {low}, after {after}");
            }
        }
    }
}

#[test]
fn age_counts() {
    let mut index = index(0, Keep::new(9, Duration::from_millis(100)));
    for seq in 1..=5 {
        push(&mut index, seq, "a");
    }
    // Those of 10, 20 and 30 ms are 100 ms old, or more.
    let plan = index.plan(None, 0, 5, 1000, LogTime::from_millis(130));
    assert_eq!(plan.seqs, [4, 5]);
    assert_eq!(plan.floors.iter().map(|f| f.seq).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_plan_ends_at_its_limit() {
    let mut index = index(0, Keep::new(9, Duration::ZERO));
    for seq in 1..=5 {
        push(&mut index, seq, "a");
    }
    let plan = index.plan(None, 1, 5, 2, LogTime::from_millis(0));
    assert_eq!((plan.seqs, plan.to), (vec![2, 3], 3));
}

#[test]
fn only_lanes_that_are_asked_for() {
    let mut index = index(0, Keep::new(1, Duration::ZERO));
    for (seq, topic) in (1..).zip(["a/1", "b", "a/2", "b", "a/1"]) {
        push(&mut index, seq, topic);
    }
    let filters: FilterSet = [TopicFilter::new("a/*").unwrap()].into_iter().collect();
    let plan = index.plan(Some(&filters), 0, 5, 1000, LogTime::from_millis(0));
    assert_eq!(plan.seqs, [3, 5]);
    assert_eq!(plan.floors.iter().map(|f| f.seq).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_stream_that_keeps_less_than_the_rule_has_floors_of_its_own() {
    let retention = Arc::new(Retention::default().with_default(Keep::new(100, Duration::ZERO)));
    let mut index =
        Index::new(0, Epoch::from_u64(1), retention, Limits { per_subject: Some(3), ..LIMITS });
    for seq in 1..=5 {
        push(&mut index, seq, "a");
    }
    assert_eq!(plan(&mut index, 0, 5), (vec![4, 5], vec![("a".to_owned(), 3)]));
}

#[test]
fn what_is_gone_all_the_same_is_a_floor() {
    let mut index = index(0, Keep::new(9, Duration::ZERO));
    for seq in 1..=5 {
        push(&mut index, seq, "a");
    }
    index.gone(3);
    assert_eq!(plan(&mut index, 0, 5), (vec![4, 5], vec![("a".to_owned(), 3)]));
}

#[test]
fn the_dead_are_swept_out() {
    let mut index = index(0, Keep::new(1, Duration::ZERO));
    for seq in 1..=10_000 {
        push(&mut index, seq, "a");
    }
    assert!(index.order.len() < 3000, "{}", index.order.len());
    assert_eq!(plan(&mut index, 0, 10_000), (vec![10_000], vec![("a".to_owned(), 9_999)]));
}

#[test]
fn beyond_its_measure_the_oldest_are_forgotten() {
    let mut index = index(0, Keep::new(2, Duration::ZERO));
    index.most = 100;
    for seq in 1..=1000 {
        // Some topics once, one often.
        let topic = if seq % 3 == 0 { "often".to_owned() } else { format!("t/{seq}") };
        push(&mut index, seq, &topic);
    }
    assert!(index.order.len() <= 101, "{}", index.order.len());
    assert!(index.lanes.len() < 120, "{}", index.lanes.len());
    let low = index.low();
    assert!((900..990).contains(&low), "{low}");
    let mut there =
        super::Index::new(low, Epoch::from_u64(1), Arc::clone(&index.retention), LIMITS);
    for seq in low + 1..=1000 {
        let topic = if seq % 3 == 0 { "often".to_owned() } else { format!("t/{seq}") };
        push(&mut there, seq, &topic);
    }
    for after in low..1000 {
        assert_eq!(plan(&mut index, after, 1000), plan(&mut there, after, 1000), "after {after}");
    }
}

#[test]
fn too_many_lanes_are_forgotten() {
    let mut index = index(0, Keep::new(1, Duration::ZERO));
    index.most_lanes = 50;
    for seq in 1..=1000 {
        push(&mut index, seq, &format!("t/{seq}"));
    }
    assert!(index.lanes.len() <= 51 && index.numbers.len() == index.lanes.len());
    let low = index.low();
    assert_eq!(plan(&mut index, low, 1000).0, (low + 1..=1000).collect::<Vec<_>>());
}

#[test]
fn a_full_index_reaches_no_further_back() {
    let mut index = index(100, Keep::new(9, Duration::ZERO));
    index.most = 10;
    let name = name("a/b");
    let names = (1..=100).map(|n| super::tests::name(&format!("t/{n}"))).collect::<Vec<_>>();
    let time = LogTime::from_millis(0);
    let below = (1..=100).rev().zip(&names).map(|(seq, name)| Seen { seq, name, time });
    index.scanned_below(below, 0);
    assert!(index.is_full());
    assert_eq!(index.low(), 90);
    assert_eq!(plan(&mut index, 90, 100).0, (91..=100).collect::<Vec<_>>());
    index.pushed(Seen { seq: 101, name: &name, time });
    assert_eq!(index.high(), 101);
}

/// What went while it was scanned went because of something newer, which has to be known.
#[test]
fn what_was_scanned_is_whole_only_up_to_a_later_head() {
    let mut index = index(0, Keep::new(2, Duration::ZERO));
    assert!(index.is_whole(0));
    let time = LogTime::from_millis(0);
    let name = name("a");
    index.scanned_above([4, 5].map(|seq| Seen { seq, name: &name, time }).into_iter(), 5);
    assert!(!index.is_whole(5), "the head may have moved while it was scanned");
    index.settle(6);
    assert!(!index.is_whole(5), "6 may have pushed 3 out");
    push(&mut index, 6, "a");
    assert!(index.is_whole(6));
    assert_eq!(plan(&mut index, 0, 6), (vec![5, 6], vec![("a".to_owned(), 4)]));
}
