use tavern_backend::{NodeId, Origin};

use super::*;

fn key(node: u64, counter: u64) -> Origin {
    Origin { node: NodeId::from_u64(node), counter }
}

fn limits(per_subject: u64) -> Limits {
    Limits { per_subject: Some(per_subject), age: None, closed: true, replicas: 1, largest: None }
}

/// Entries from seq 11 on, by the keys of node 1.
fn kept(counters: &[u64]) -> Kept {
    let mut kept = Kept::default();
    for (seq, counter) in (11..).zip(counters) {
        kept.push(seq, Some(key(1, *counter)));
    }
    kept
}

#[test]
fn what_is_there_was_stored_where_it_is() {
    assert_eq!(kept(&[4, 5, 6]).stored(key(1, 5), 0, &limits(64)), Some(12));
    assert_eq!(kept(&[4, 5, 6]).stored(key(2, 5), 0, &limits(64)), None, "another node's");
}

#[test]
fn only_a_full_lane_has_trimmed() {
    assert_eq!(kept(&[5, 6, 7]).stored(key(1, 4), 0, &limits(3)), Some(10), "before the first");
    assert_eq!(kept(&[5, 6, 7]).stored(key(1, 4), 0, &limits(4)), None, "there was room");
    let open = Limits { closed: false, ..limits(64) };
    assert_eq!(
        kept(&[5, 6, 7]).stored(key(1, 4), 0, &open),
        Some(10),
        "trimmed for another reason"
    );
}

/// What was stored behind it in spite of its key says nothing.
#[test]
fn what_was_overtaken_was_not_stored() {
    assert_eq!(kept(&[4, 6, 7]).stored(key(1, 5), 0, &limits(3)), None);
    assert_eq!(Kept::default().stored(key(1, 5), 0, &limits(64)), None);
}

/// What was stored later lies above where the log had got to, and that is all still there.
#[test]
fn what_left_after_all_that_was_trimmed_was_not_stored() {
    assert_eq!(kept(&[5, 6, 7]).stored(key(1, 4), 10, &limits(3)), None);
    assert_eq!(kept(&[5, 6, 7]).stored(key(1, 4), 9, &limits(3)), Some(10));
    assert_eq!(kept(&[4, 5]).stored(key(1, 4), 10, &limits(3)), Some(11), "it is there");
}

#[test]
fn what_became_of_a_publication_is_remembered_and_bounded() {
    let mut unsettled = Unsettled::default();
    assert_eq!(unsettled.get(key(1, 1)), None, "it was never sent");
    let known = |published| Some(Known { left_at: 7, published });
    unsettled.note(key(1, 1), 7, None);
    assert_eq!(unsettled.get(key(1, 1)), known(None));
    unsettled.note(key(1, 1), 8, Some(Published::Live));
    unsettled.note(key(1, 1), 9, None);
    assert_eq!(unsettled.get(key(1, 1)), known(Some(Published::Live)), "known is known");
    for counter in 2..2 + u64::try_from(MOST).unwrap() {
        unsettled.note(key(1, counter), 0, None);
    }
    assert_eq!(unsettled.get(key(1, 1)), None);
    assert_eq!(unsettled.known.len(), MOST);
    assert_eq!(unsettled.order.len(), MOST);
}
