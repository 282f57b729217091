use std::sync::Arc;

use proptest::prelude::*;
use tavern_backend::{
    Entry, Epoch, LogTime, MessageEnvelope, NodeId, Origin, Position, Record, Topic,
};

use super::{Sequencer, Step};

fn entry(seq: u64) -> Step {
    let envelope = MessageEnvelope::new(Topic::new("t").unwrap(), seq.to_string());
    let origin = Origin { node: NodeId::from_u64(1), counter: seq };
    Step::Entry(Arc::new(Entry {
        position: Position::new(Epoch::from_u64(1), seq),
        appended: LogTime::from_millis(0),
        record: Record { origin, waited: std::time::Duration::ZERO, envelope },
    }))
}

/// What was emitted, as (first, last, what), with skips joined.
fn summary(steps: &[Step], from: u64) -> Vec<(u64, u64, char)> {
    let mut next = from;
    let mut out: Vec<(u64, u64, char)> = Vec::new();
    for step in steps {
        let what = match step {
            Step::Entry(_) => 'e',
            Step::Undecodable { .. } => 'u',
            Step::Skip { .. } => 's',
            Step::Lost { .. } => 'l',
        };
        match out.last_mut() {
            Some((_, last, 's')) if what == 's' => *last = step.last(),
            _ => out.push((next, step.last(), what)),
        }
        next = step.last() + 1;
    }
    out
}

#[test]
fn what_is_in_order_passes_at_once() {
    let (mut sequencer, mut out) = (Sequencer::new(0, 8), Vec::new());
    sequencer.push(1, entry(1), &mut out);
    sequencer.push(2, Step::Skip { to: 4 }, &mut out);
    sequencer.push(5, entry(5), &mut out);
    assert_eq!(summary(&out, 1), [(1, 1, 'e'), (2, 4, 's'), (5, 5, 'e')]);
    assert_eq!((sequencer.watermark(), sequencer.hole()), (5, None));
}

#[test]
fn a_hole_holds_back_what_is_above_it_until_it_is_filled() {
    let (mut sequencer, mut out) = (Sequencer::new(0, 8), Vec::new());
    sequencer.push(1, entry(1), &mut out);
    sequencer.push(4, entry(4), &mut out);
    assert_eq!((sequencer.watermark(), sequencer.hole()), (1, Some((2, 3))));
    sequencer.fill([entry(3)], 3, &mut out);
    assert_eq!(summary(&out, 1), [(1, 1, 'e'), (2, 2, 's'), (3, 3, 'e'), (4, 4, 'e')]);
    assert_eq!((sequencer.watermark(), sequencer.hole()), (4, None));
}

#[test]
fn a_lost_tail_is_a_hole_once_the_head_is_known() {
    let (mut sequencer, mut out) = (Sequencer::new(7, 8), Vec::new());
    assert_eq!(sequencer.hole(), None);
    sequencer.reach(9);
    assert_eq!(sequencer.hole(), Some((8, 9)));
    sequencer.fill([entry(8), entry(9)], 9, &mut out);
    assert_eq!((sequencer.watermark(), sequencer.hole()), (9, None));
}

#[test]
fn what_comes_again_is_counted_and_dropped() {
    let (mut sequencer, mut out) = (Sequencer::new(0, 8), Vec::new());
    for seq in [1, 3, 1, 3, 2, 3] {
        sequencer.push(seq, entry(seq), &mut out);
    }
    assert_eq!(summary(&out, 1), [(1, 1, 'e'), (2, 2, 'e'), (3, 3, 'e')]);
    assert_eq!(sequencer.duplicates, 3);
}

#[test]
fn what_does_not_fit_above_a_hole_becomes_a_hole_itself() {
    let (mut sequencer, mut out) = (Sequencer::new(0, 2), Vec::new());
    for seq in [5, 4, 3, 2, 9] {
        sequencer.push(seq, entry(seq), &mut out);
    }
    assert_eq!(sequencer.overflow, 3, "2 and 3 are kept, the lowest");
    sequencer.push(1, entry(1), &mut out);
    assert_eq!((sequencer.watermark(), sequencer.hole()), (3, Some((4, 9))));
}

#[test]
fn a_hole_that_is_given_up_says_so_in_its_place() {
    let (mut sequencer, mut out) = (Sequencer::new(0, 8), Vec::new());
    sequencer.push(4, entry(4), &mut out);
    sequencer.give_up(3, &mut out);
    assert_eq!(summary(&out, 1), [(1, 3, 'l'), (4, 4, 'e')]);
}

#[test]
fn what_came_from_beyond_a_cut_is_forgotten_and_its_seqs_are_free() {
    let (mut sequencer, mut out) = (Sequencer::new(0, 8), Vec::new());
    for seq in [1, 3, 5, 6] {
        sequencer.push(seq, entry(seq), &mut out);
    }
    sequencer.push(7, Step::Skip { to: 9 }, &mut out);
    sequencer.cut(5);
    assert_eq!((sequencer.target(), sequencer.hole()), (5, Some((2, 2))));
    sequencer.push(6, Step::Skip { to: 8 }, &mut out);
    sequencer.fill([entry(2)], 2, &mut out);
    sequencer.fill([entry(4)], 4, &mut out);
    let skip = (6, 8, 's');
    assert_eq!(
        summary(&out, 1),
        [(1, 1, 'e'), (2, 2, 'e'), (3, 3, 'e'), (4, 4, 'e'), (5, 5, 'e'), skip]
    );
}

/// A log of `len` entries of which this node wants some.
#[derive(Debug, Clone)]
struct Pushes {
    wanted: Vec<bool>,
    /// Pushed seqs in order of arrival: some missing, some twice, out of order.
    order: Vec<usize>,
    limit: usize,
}

fn pushes() -> impl Strategy<Value = Pushes> {
    (1_usize..60).prop_flat_map(|len| {
        (
            prop::collection::vec(any::<bool>(), len),
            prop::collection::vec(0..len, 0..len * 2),
            1_usize..20,
        )
            .prop_map(|(wanted, order, limit)| Pushes { wanted, order, limit })
    })
}

proptest! {
    /// Against the simplest model, the list of what is wanted: whatever of the pushes is lost,
    /// repeated or out of order, reading the holes gives every wanted entry once and in order.
    #[test]
    fn any_pushes_and_repairs_give_the_log(pushes in pushes(), pages in 1_u64..9) {
        let Pushes { wanted, order, limit } = pushes;
        let head = u64::try_from(wanted.len()).unwrap();
        let model: Vec<u64> =
            (1..=head).filter(|s| wanted[usize::try_from(*s - 1).unwrap()]).collect();
        let (mut sequencer, mut out) = (Sequencer::new(0, limit), Vec::new());
        for n in order {
            let seq = u64::try_from(n).unwrap() + 1;
            let step = if wanted[n] { entry(seq) } else { Step::Skip { to: seq } };
            sequencer.push(seq, step, &mut out);
            prop_assert!(sequencer.pending.len() <= limit);
        }
        sequencer.reach(head);
        while let Some((from, to)) = sequencer.hole() {
            prop_assert_eq!(from, sequencer.watermark() + 1);
            let to = to.min(from + pages - 1);
            let page = model.iter().filter(|s| (from..=to).contains(*s)).map(|s| entry(*s));
            sequencer.fill(page.collect::<Vec<_>>(), to, &mut out);
        }
        prop_assert_eq!(sequencer.watermark(), head);
        let entries: Vec<u64> =
            out.iter().filter(|s| matches!(s, Step::Entry(_))).map(Step::last).collect();
        prop_assert_eq!(entries, model);
        prop_assert!(out.windows(2).all(|pair| pair[0].last() < pair[1].last()), "in order");
    }
}
