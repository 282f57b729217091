use super::*;

#[test]
fn cuts_are_within_the_run_and_apart() {
    let drops = Drops { cuts: 3, clients: 500, ..Drops::default() };
    let cuts = drops.cuts().unwrap();
    assert_eq!(cuts.len(), 500);
    for of_client in &cuts {
        assert_eq!(of_client.len(), 3);
        assert!(of_client[0] >= Duration::from_secs(1), "{of_client:?}");
        let last = of_client[2] + drops.cut;
        assert!(last <= drops.length, "{of_client:?}");
        assert!(of_client.is_sorted_by(|a, b| *a + drops.cut <= *b), "{of_client:?}");
    }
    assert_ne!(cuts[0], cuts[1]);
}

#[test]
fn cuts_without_time_between_them_are_refused() {
    let drops = Drops { cuts: 30, ..Drops::default() };
    assert!(matches!(drops.cuts(), Err(DropsError::TooMany(30, ..))), "{:?}", drops.cuts());
}

#[test]
fn a_tally_tells_what_comes_again_from_what_comes_late() {
    let mut tally = Tally::default();
    for data in ["3 0", "3 2", "3 2", "3 1", "3 1", "4 3", "hello", "3"] {
        tally.message(3, data);
    }
    tally.gap();
    let Tally { delivered, twice, disordered, told, foreign, .. } = tally;
    assert_eq!((delivered, twice, disordered, told, foreign), (3, 2, 1, 1, 3));
}
