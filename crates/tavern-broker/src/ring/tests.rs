use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tavern_backend::{Epoch, Lane, MessageEnvelope, Position, Scope, Topic, TopicFilter};

use super::{Arrival, Discarded, Follow, Got, Limit, Read, Ring};
use crate::delivery::GapReason;
use crate::frame::Frame;
use crate::marker::Marker;

const EPOCH: Epoch = Epoch::from_u64(1);

fn at(seq: u64) -> Position {
    Position::new(EPOCH, seq)
}

fn frame(topic: &str, scope: Option<&str>, position: Position) -> Arc<Frame> {
    let mut envelope = MessageEnvelope::new(Topic::new(topic).unwrap(), position.seq.to_string());
    envelope.scope = scope.map(|scope| Scope::new(scope).unwrap());
    Arc::new(Frame::for_test(envelope, Some(position)))
}

fn ring(budget: usize) -> Arc<Ring> {
    let ring = Arc::new(Ring::new(budget));
    ring.begin(at(0));
    ring
}

fn filters(texts: &[&str]) -> Vec<TopicFilter> {
    texts.iter().map(|text| TopicFilter::new(text).unwrap()).collect()
}

/// The seqs that a reader gets from `at` on, and where it stands then; `None` if it fell.
fn read_all(ring: &Ring, follow: &Follow, mut offset: u64, seen: u64) -> Option<(Vec<u64>, u64)> {
    let (mut got, mut lost) = (Vec::new(), false);
    loop {
        match ring.read(follow, offset, seen, Limit::items(3), &mut got, &mut lost) {
            Read::More { at } => offset = at,
            Read::Drained { at, .. } => {
                let seqs = got.iter().filter_map(|got| match got {
                    Got::Entry(frame) => frame.position.map(|position| position.seq),
                    Got::Live(..) | Got::Marker(..) => None,
                });
                return Some((seqs.collect(), at));
            }
            Read::Fallen { .. } => return None,
        }
    }
}

#[test]
fn a_reader_gets_its_lanes_in_the_order_of_the_log() {
    let ring = ring(1 << 20);
    let two = ring.follow(&filters(&["a", "b"]), None);
    let wild = ring.follow(&filters(&["*"]), None);
    let scoped = ring.follow(&filters(&["a"]), Some(&Scope::new("s").unwrap()));
    ring.append([
        Arrival::Entry(frame("b", None, at(1))),
        Arrival::Entry(frame("c", None, at(2))),
        Arrival::Entry(frame("a", Some("s"), at(3))),
        Arrival::Entry(frame("a", None, at(4))),
        Arrival::Entry(frame("b", None, at(5))),
    ]);
    assert_eq!(read_all(&ring, &two.follow, two.since, 0).unwrap().0, [1, 4, 5]);
    assert_eq!(read_all(&ring, &wild.follow, wild.since, 0).unwrap().0, [1, 2, 4, 5]);
    assert_eq!(read_all(&ring, &scoped.follow, scoped.since, 0).unwrap().0, [3]);
}

#[test]
fn a_group_made_late_reads_what_was_there_before_it() {
    let ring = ring(1 << 20);
    ring.append((1..=5).map(|seq| Arrival::Entry(frame("a", None, at(seq)))));
    let wild = ring.follow(&filters(&["**"]), None);
    ring.append((6..=8).map(|seq| Arrival::Entry(frame("b", None, at(seq)))));
    let offset = ring.enter(&wild.follow, at(2)).unwrap();
    assert_eq!(read_all(&ring, &wild.follow, offset, 2).unwrap().0, [3, 4, 5, 6, 7, 8]);
}

#[test]
fn the_budget_is_kept_and_the_oldest_goes_first() {
    let ring = ring(20_000);
    let reader = ring.follow(&filters(&["a"]), None);
    for seq in 1..=1_000 {
        ring.append([Arrival::Entry(frame("a", None, at(seq)))]);
        assert!(ring.sizes().bytes <= 20_000);
    }
    assert!(ring.sizes().frames > 10, "{:?}", ring.sizes());
    assert!(read_all(&ring, &reader.follow, reader.since, 0).is_none(), "it fell off");
    assert!(ring.enter(&reader.follow, at(900)).is_none(), "901 may be gone");
    let newest = ring.enter(&reader.follow, at(995)).unwrap();
    assert_eq!(read_all(&ring, &reader.follow, newest, 995).unwrap().0, [996, 997, 998, 999, 1000]);
}

#[test]
fn a_flood_elsewhere_does_not_make_a_quiet_reader_fall() {
    let ring = ring(20_000);
    let quiet = ring.follow(&filters(&["quiet"]), None);
    for seq in 1..=1_000 {
        ring.append([Arrival::Entry(frame("loud", None, at(seq)))]);
    }
    ring.append([Arrival::Entry(frame("quiet", None, at(1_001)))]);
    assert_eq!(read_all(&ring, &quiet.follow, quiet.since, 0).unwrap().0, [1_001]);
}

#[test]
fn everything_is_given_back() {
    let ring = ring(1 << 20);
    let empty = ring.sizes().bytes;
    {
        let _a = ring.follow(&filters(&["a", "b"]), None);
        let _all = ring.follow(&filters(&["**"]), None);
        assert!(ring.sizes().bytes > empty);
        assert_eq!(ring.sizes().subscribers, 2);
    }
    assert_eq!(ring.sizes().bytes, empty);
    assert_eq!(ring.sizes().subscribers, 0);
}

#[test]
fn nobody_enters_among_seqs_that_were_given_out_twice() {
    let ring = ring(1 << 20);
    let reader = ring.follow(&filters(&["a"]), None);
    ring.append((1..=100).map(|seq| Arrival::Entry(frame("a", None, at(seq)))));
    let epoch = Epoch::from_u64(2);
    ring.append([Arrival::Marker(Marker::Fork { epoch, at: 95, lost: true, known: true })]);
    ring.append([Arrival::Entry(frame("a", None, Position::new(epoch, 96)))]);
    assert!(ring.enter(&reader.follow, at(98)).is_none(), "an epoch that is over");
    assert!(ring.enter(&reader.follow, Position::new(epoch, 94)).is_none(), "below the fork");
    let offset = ring.enter(&reader.follow, Position::new(epoch, 95)).unwrap();
    assert_eq!(read_all(&ring, &reader.follow, offset, 95).unwrap().0, [96]);
}

#[test]
fn a_reader_that_left_before_a_marker_was_read_falls() {
    let ring = ring(20_000);
    let reader = ring.follow(&filters(&["a"]), None);
    let gap = Marker::Gap { reason: GapReason::Outage, lanes: None };
    ring.append([Arrival::Marker(gap)]);
    for seq in 1..=1_000 {
        ring.append([Arrival::Entry(frame("loud", None, at(seq)))]);
    }
    assert!(read_all(&ring, &reader.follow, reader.since, 0).is_none());
}

/// What happens to the ring, for the property below.
#[derive(Debug, Clone)]
enum Op {
    Append(usize),
    Skip(u64),
    Resume(usize, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_usize..6).prop_map(Op::Append),
        1 => (1_u64..5).prop_map(Op::Skip),
        2 => (0_usize..4, 0_u64..40).prop_map(|(who, back)| Op::Resume(who, back)),
    ]
}

proptest! {
    /// Against a plain list: whoever is let in at a seq gets everything above it that it follows,
    /// in order and once. (Not being let in, or falling, is always allowed: history is asked then.)
    #[test]
    fn who_is_let_in_gets_everything(ops in prop::collection::vec(op(), 1..200), budget in 2_000_usize..30_000) {
        let lanes: Vec<Lane> = [("a", None), ("a", Some("s")), ("b", None), ("b/c", None), ("b/d", None), ("e", None)]
            .into_iter()
            .map(|(topic, scope): (&str, Option<&str>)| Lane {
                topic: Topic::new(topic).unwrap(),
                scope: scope.map(|scope| Scope::new(scope).unwrap()),
            })
            .collect();
        let sets = [vec!["a"], vec!["a", "b", "e"], vec!["b/**"], vec!["**"]];
        let ring = ring(budget);
        let (mut model, mut head): (Vec<(u64, usize)>, u64) = (Vec::new(), 0);
        for op in ops {
            match op {
                Op::Append(lane) => {
                    head += 1;
                    model.push((head, lane));
                    let Lane { topic, scope } = &lanes[lane];
                    let scope = scope.as_ref().map(Scope::as_str);
                    ring.append([Arrival::Entry(frame(topic.as_str(), scope, at(head)))]);
                }
                Op::Skip(n) => {
                    head += n;
                    ring.append([Arrival::Advance(head)]);
                }
                Op::Resume(who, back) => {
                    let set = filters(&sets[who]);
                    let reader = ring.follow(&set, None);
                    let seq = head.saturating_sub(back);
                    let Some(offset) = ring.enter(&reader.follow, at(seq)) else { continue };
                    let Some((got, _)) = read_all(&ring, &reader.follow, offset, seq) else { continue };
                    let wanted: Vec<u64> = model
                        .iter()
                        .filter(|(s, lane)| {
                            let lane = &lanes[*lane];
                            *s > seq && lane.scope.is_none() && set.iter().any(|f| f.matches(&lane.topic))
                        })
                        .map(|(s, _)| *s)
                        .collect();
                    prop_assert_eq!(got, wanted);
                }
            }
            prop_assert!(ring.sizes().bytes <= budget);
        }
        // Who resumes at the head is always let in.
        let reader = ring.follow(&filters(&["zzz"]), None);
        prop_assert!(ring.enter(&reader.follow, at(head)).is_some());
    }
}

#[test]
fn live_messages_that_leave_unread_are_told_of_even_if_a_marker_leaves_with_them() {
    let ring = ring(4_000);
    let reader = ring.follow(&filters(&["live"]), None);
    let live = |n: u64| {
        let envelope = MessageEnvelope::new(Topic::new("live").unwrap(), n.to_string());
        Arrival::Live(Arc::new(Frame::for_test(envelope, None)))
    };
    ring.append([live(1), live(2)]);
    ring.append([Arrival::Marker(Marker::Recovered { after: Duration::ZERO })]);
    ring.append((1..=50).map(|seq| Arrival::Entry(frame("loud", None, at(seq)))));
    let (mut got, mut lost) = (Vec::new(), false);
    let read = ring.read(&reader.follow, reader.since, 0, Limit::items(64), &mut got, &mut lost);
    assert!(matches!(read, Read::Fallen { .. }), "{read:?}");
    assert!(got.is_empty() && lost);
}

#[test]
fn where_the_ring_stands_never_goes_back() {
    let ring = ring(1 << 20);
    let stop = AtomicBool::new(false);
    let mut behind = 0;
    std::thread::scope(|scope| {
        // Live messages are appended by those who publish them, beside the node's reader.
        for _ in 0..3 {
            scope.spawn(|| {
                let envelope = MessageEnvelope::new(Topic::new("live").unwrap(), "x");
                let frame = Arc::new(Frame::for_test(envelope, None));
                while !stop.load(Ordering::Relaxed) {
                    ring.append([Arrival::Live(Arc::clone(&frame))]);
                }
            });
        }
        for seq in 1..=50_000 {
            ring.append([Arrival::Advance(seq)]);
            behind += u32::from(ring.position().unwrap().seq < seq);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(behind, 0);
}

#[test]
fn a_read_ends_before_it_holds_too_many_bytes() {
    let ring = ring(1 << 20);
    let all = filters(&["a", "b", "c"]);
    for topics in [&all[..1], &all[..2], &all[..]] {
        let reader = ring.follow(topics, None);
        let large = |seq| frame(topics[0].as_str(), None, at(seq));
        let seq = ring.position().unwrap().seq;
        ring.append((1..=5).map(|n| Arrival::Entry(large(seq + n))));
        let each = large(seq + 1).encoded.len();
        let mut offset = reader.since;
        for (bytes, items) in [(2 * each, 2), (2 * each - 1, 1), (1, 1), (100 * each, 1)] {
            let (mut got, mut lost) = (Vec::new(), false);
            let limit = Limit { items: 10, bytes };
            let read = ring.read(&reader.follow, offset, seq, limit, &mut got, &mut lost);
            assert_eq!(got.len(), items, "of {bytes} bytes");
            offset = match read {
                Read::More { at } | Read::Drained { at, .. } | Read::Fallen { base: at } => at,
            };
        }
    }
}

#[test]
fn what_was_given_up_is_remembered_of_some_lanes_and_then_of_any() {
    let ring = ring(1 << 30);
    let lane = |n: u64| Lane { topic: Topic::new(format!("t/{n}")).unwrap(), scope: None };
    let discard = |n| ring.append([Arrival::Marker(Marker::Discarded { lane: lane(n) })]);
    let seven = |seq| ring.discarded(|there| *there == lane(7), seq, ..u64::MAX);
    ring.append([Arrival::Advance(10)]);
    for n in 0..1_024 {
        discard(n);
    }
    assert_eq!(seven(10), Some(Discarded::Lanes(vec![lane(7)])));
    assert_eq!(seven(11), None);
    assert_eq!(ring.discarded(|there| *there == lane(7), 0, 8..), None, "its marker is the eighth");
    ring.append([Arrival::Advance(20)]);
    discard(7);
    discard(5_000);
    assert_eq!(seven(20), Some(Discarded::Unknown));
    assert_eq!(seven(21), None);
    let epoch = Epoch::from_u64(2);
    ring.append([Arrival::Marker(Marker::Fork { epoch, at: 15, lost: true, known: true })]);
    assert_eq!((seven(15), seven(16)), (Some(Discarded::Unknown), None));
}

/// Found by the simulation: at a fork the indexes forget how far they have lost, and a slow reader went
/// on behind what it had not read.
#[test]
fn a_slow_reader_falls_where_unread_entries_left_the_ring_before_a_fork() {
    let ring = ring(3_000);
    let slow = ring.follow(&filters(&["a"]), None);
    ring.append([Arrival::Entry(frame("a", None, at(1)))]);
    let (seqs, offset) = read_all(&ring, &slow.follow, slow.since, 0).unwrap();
    assert_eq!(seqs, [1]);
    ring.append((2..=40).map(|seq| Arrival::Entry(frame("a", None, at(seq)))));
    let epoch = Epoch::from_u64(2);
    let fork = Marker::Fork { epoch, at: 1, lost: true, known: true };
    ring.append([Arrival::Marker(fork)]);
    assert_eq!(read_all(&ring, &slow.follow, offset, 1), None, "2 is gone unread");
}
