use tavern_backend::Position;

use super::*;

fn meta() -> Meta {
    Meta::new("7f".to_owned(), "then".to_owned(), Epoch::from_u64(1), Retention::default())
}

fn servers(list: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    list.iter().map(|(name, id)| ((*name).to_owned(), id.map(str::to_owned))).collect()
}

#[test]
fn it_comes_back() {
    let mut meta = meta();
    let mut lineage = meta.lineage().unwrap();
    lineage.fork(Epoch::from_u64(2), 10);
    lineage.learn(Position::new(Epoch::from_u64(1), 12));
    meta.set_lineage(&lineage);
    meta.note_servers(&servers(&[("n0", Some("A")), ("n1", None)]));
    meta.sample(5, 6, 1);
    let bytes = serde_json::to_vec(&meta).unwrap();
    let back = Meta::parse(&bytes).unwrap();
    assert_eq!(back, meta);
    assert_eq!(back.lineage().unwrap(), lineage);
}

#[test]
fn another_schema_is_refused_with_its_number() {
    let newer = br#"{"schema":2,"whatever":true}"#;
    let failure = Meta::parse(newer).unwrap_err();
    assert!(failure.lasting && failure.reason.contains("schema version 2"), "{failure:?}");
    assert!(Meta::parse(b"{}").unwrap_err().lasting);
    assert!(Meta::parse(b"no json").unwrap_err().lasting);
}

#[test]
fn a_majority_that_still_runs_is_the_same_log() {
    let mut meta = meta();
    assert!(meta.is_of(&servers(&[("n0", Some("A"))])), "nothing was appended yet");
    meta.note_servers(&servers(&[("n0", Some("A")), ("n1", Some("B")), ("n2", Some("C"))]));
    let is_of = |list| meta.is_of(&servers(list));
    assert!(is_of(&[("n0", Some("A")), ("n1", Some("B")), ("n2", Some("C"))]));
    assert!(is_of(&[("n0", Some("A")), ("n1", Some("B")), ("n2", Some("new"))]), "one restarted");
    assert!(is_of(&[("n0", Some("A")), ("n1", Some("B")), ("n2", None)]), "one is away");
    assert!(!is_of(&[("n0", Some("A")), ("n1", Some("new")), ("n2", Some("new"))]));
    assert!(!is_of(&[("n0", Some("A")), ("n1", None), ("n2", None)]), "two are away");
    assert!(!is_of(&[("n0", Some("new"))]));
}

#[test]
fn who_is_away_is_not_forgotten() {
    let mut meta = meta();
    meta.note_servers(&servers(&[("n0", Some("A")), ("n1", Some("B"))]));
    assert!(meta.note_servers(&servers(&[("n0", Some("A2")), ("n1", None)])));
    assert!(meta.is_of(&servers(&[("n0", Some("A2")), ("n1", Some("B"))])));
    assert!(!meta.note_servers(&servers(&[("n0", Some("A2")), ("n1", Some("B"))])));
}

#[test]
fn samples_bound_what_was_appended_before() {
    let mut meta = meta();
    assert_eq!(meta.head_at(0), None);
    assert!(meta.sample(1000, 10, 100));
    assert!(!meta.sample(1050, 11, 100), "too soon");
    assert!(meta.sample(1100, 20, 100));
    assert_eq!(meta.head_at(900), Some(10));
    assert_eq!(meta.head_at(1000), Some(10));
    assert_eq!(meta.head_at(1001), Some(20));
    assert_eq!(meta.head_at(1101), None);
    for n in 2..50 {
        meta.sample(1000 + n * 100, 30, 100);
    }
    assert_eq!(meta.samples.len(), SAMPLES);
}

#[test]
fn samples_of_a_longer_past_are_dropped() {
    let mut meta = meta();
    meta.sample(1000, 10, 100);
    meta.sample(2000, 100, 100);
    // The log was cut back to 50.
    meta.sample(3000, 50, 100);
    assert_eq!(meta.samples, [(1000, 10), (3000, 50)]);
}

#[test]
fn what_a_narrower_stream_has_removed_is_remembered() {
    let keeps =
        |per_subject, secs: Option<u64>| Keeps { per_subject, age: secs.map(Duration::from_secs) };
    let mut meta = meta();
    assert!(meta.note_keeps(keeps(Some(65), Some(60)), 11, 20));
    assert!(!meta.note_keeps(keeps(Some(65), Some(60)), 12, 20));
    assert!(meta.note_keeps(keeps(Some(65), Some(10)), 13, 20), "less");
    assert_eq!(meta.horizon, 0);
    assert!(meta.note_keeps(keeps(Some(65), Some(11)), 14, 20));
    assert_eq!(meta.horizon, 13, "what was too old");
    assert!(meta.note_keeps(keeps(Some(65), None), 15, 20));
    assert_eq!(meta.horizon, 14);
    assert!(meta.note_keeps(keeps(Some(66), None), 15, 30));
    assert_eq!(meta.horizon, 30, "what lay between others");
    assert!(meta.note_keeps(keeps(None, Some(5)), 15, 40));
    assert_eq!(meta.horizon, 40);
    assert!(meta.note_keeps(keeps(None, Some(6)), 15, 50));
    assert_eq!(meta.horizon, 40, "it never goes back");
}

#[test]
fn servers_that_cannot_be_asked_have_not_changed() {
    let mut meta = meta();
    let changed = |meta: &Meta, list| meta.has_changed(&servers(list));
    assert!(!changed(&meta, &[("n0", Some("A"))]), "nothing was appended yet");
    meta.note_servers(&servers(&[("n0", Some("A")), ("n1", Some("B")), ("n2", Some("C"))]));
    assert!(!changed(&meta, &[("n0", Some("A")), ("n1", None), ("n2", None)]));
    assert!(!changed(&meta, &[("n0", Some("new")), ("n1", None), ("n2", None)]));
    assert!(changed(&meta, &[("n0", Some("new")), ("n1", Some("new")), ("n2", None)]));
    assert!(changed(&meta, &[("n0", Some("new"))]), "one replica");
    assert!(!changed(&meta, &[("n0", None)]));
}
