use super::{Boot, Incarnation};
use crate::place::FileId;

fn of(ino: u64, boot: &str, birth: Option<u64>) -> Incarnation {
    Incarnation::new(FileId { dev: 7, ino, birth }, &Boot(boot.to_owned()))
}

#[test]
fn another_file_another_boot_and_another_birth_are_another_life() {
    let mine = of(1, "boot", Some(5));
    assert!(mine.is(of(1, "boot", Some(5)).as_str()));
    for other in [of(2, "boot", Some(5)), of(1, "anew", Some(5)), of(1, "boot", Some(6))] {
        assert!(!mine.is(other.as_str()), "{other:?}");
    }
}

#[test]
fn a_birth_is_compared_where_both_know_it_and_added_where_it_was_not_known() {
    for boot in ["boot", ""] {
        let (knows, knows_not) = (of(1, boot, Some(5)), of(1, boot, None));
        assert!(knows.is(knows_not.as_str()) && knows_not.is(knows.as_str()));
        assert!(!knows.is(of(2, boot, None).as_str()));

        let mut stored = knows_not.as_str().to_owned();
        knows.complete(&mut stored);
        assert_eq!(stored, knows.as_str());
        knows_not.complete(&mut stored);
        assert_eq!(stored, knows.as_str(), "what is known stays");
    }
}
