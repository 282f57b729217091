use super::*;

fn event(data: &str, seq: u64) -> Event {
    Event { name: "message".to_owned(), data: data.to_owned(), id: Some(format!("1e-{seq}~x")) }
}

fn oracle() -> Oracle {
    Oracle::new(["a".to_owned(), "b".to_owned()], 2, 2)
}

#[track_caller]
fn judged(records: &[(&str, u64)]) -> Result<bool, String> {
    let mut oracle = oracle();
    for (data, seq) in records {
        oracle.take(&event(data, *seq))?;
    }
    Ok(oracle.is_complete())
}

const WHOLE: [(&str, u64); 8] = [
    ("a 0 0", 1),
    ("b 1 0", 2),
    ("b 0 0", 4),
    ("a 0 1", 5),
    ("a 1 0", 6),
    ("b 0 1", 7),
    ("a 1 1", 9),
    ("b 1 1", 10),
];

#[test]
fn a_whole_record_is_complete_and_a_shorter_one_is_not() {
    assert_eq!(judged(&WHOLE), Ok(true));
    assert_eq!(judged(&WHOLE[..7]), Ok(false));
    assert_eq!(oracle().expected(), 8);
}

#[test]
fn what_is_missing_again_out_of_order_or_of_others_is_wrong() {
    for (records, said) in [
        (&[("a 0 1", 1)][..], "was to come"),
        (&[("a 0 0", 1), ("a 0 0", 2)], "was to come"),
        (&[("a 0 0", 2), ("b 0 0", 1)], "out of order"),
        (&[("a 0 0", 2), ("b 0 0", 2)], "out of order"),
        (&[("c 0 0", 1)], "not for this client"),
        (&[("a 2 0", 1)], "not for this client"),
        (&[("a 0 2", 1)], "not for this client"),
        (&[("hello", 1)], "nobody published"),
    ] {
        let wrong = judged(records).expect_err("it is wrong");
        assert!(wrong.contains(said), "{records:?}: {wrong}");
    }
    let without_id = Event { id: None, ..event("a 0 0", 1) };
    assert!(oracle().take(&without_id).is_err());
}

#[test]
fn a_gap_excuses_what_is_missing_behind_it_and_nothing_else() {
    let gap = Event { name: "tavern-replay-gap".to_owned(), ..event("{}", 1) };
    let mut told = oracle();
    told.take(&gap).expect("a gap is no fault");
    told.take(&event("a 0 1", 2)).expect("excused");
    assert_eq!((told.gaps(), told.received()), (1, 1));
    assert!(told.take(&event("a 0 0", 3)).is_err(), "not in order");
    assert!(oracle().take(&event("a 0 1", 2)).is_err(), "a gap comes first");
}
