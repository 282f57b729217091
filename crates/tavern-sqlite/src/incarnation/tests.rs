use super::{Boot, Incarnation};
use crate::config::Durability;
use crate::place::FileId;

fn of(ino: u64, boot: &str, birth: Option<u64>) -> Incarnation {
    with(ino, boot, birth, Durability::Full)
}

fn with(ino: u64, boot: &str, birth: Option<u64>, durability: Durability) -> Incarnation {
    Incarnation::new(FileId { dev: 7, ino, birth }, &Boot(boot.to_owned()), durability)
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

#[test]
fn another_boot_may_have_lost_something_if_anybody_wrote_what_was_not_on_the_disk() {
    for birth in [Some(5), None] {
        let [full, normal] = [Durability::Full, Durability::Normal].map(|d| with(1, "a", birth, d));
        let [full_anew, normal_anew] =
            [Durability::Full, Durability::Normal].map(|d| with(1, "b", birth, d));
        assert!(full.is(normal.as_str()) && normal.is(full.as_str()), "the same life");
        assert!(!normal_anew.may_have_lost(normal_anew.as_str()), "the same boot");
        assert!(!full_anew.may_have_lost(full.as_str()), "it was on the disk");
        for (now, before) in [(&normal_anew, &normal), (&full_anew, &normal), (&normal_anew, &full)]
        {
            assert!(now.may_have_lost(before.as_str()), "{now:?} after {before:?}");
        }
        // Whoever of many writes so leaves the mark, and nobody takes it away.
        let mut stored = full.as_str().to_owned();
        normal.complete(&mut stored);
        full.complete(&mut stored);
        assert_eq!(stored, normal.as_str());
        assert!(full_anew.may_have_lost(&stored));
    }
}
