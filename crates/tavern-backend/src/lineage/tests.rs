use super::{Fork, Lineage, Place};
use crate::{Epoch, Position};

fn e(n: u64) -> Epoch {
    Epoch::from_u64(n)
}

fn lineage() -> Lineage {
    Lineage {
        epoch: e(3),
        forks: vec![
            Fork { parent: e(2), at: 150, lost_through: 150 },
            Fork { parent: e(1), at: 95, lost_through: 100 },
        ],
    }
}

#[test]
fn the_current_epoch_is_compared_with_the_head() {
    assert_eq!(lineage().locate(Position::new(e(3), 160), 160), Place::At { seq: 160, lost: None });
    assert_eq!(lineage().locate(Position::new(e(3), 161), 160), Place::Beyond { fork: 160 });
}

#[test]
fn a_fork_that_lost_nothing_is_crossed_in_silence() {
    assert_eq!(lineage().locate(Position::new(e(2), 150), 160), Place::At { seq: 150, lost: None });
    assert_eq!(lineage().locate(Position::new(e(2), 151), 160), Place::Beyond { fork: 150 });
}

#[test]
fn a_position_below_a_loss_is_told_of_it() {
    assert_eq!(
        lineage().locate(Position::new(e(1), 94), 160),
        Place::At { seq: 94, lost: Some(95) }
    );
    assert_eq!(lineage().locate(Position::new(e(1), 98), 160), Place::Beyond { fork: 95 });
}

#[test]
fn the_lowest_of_several_ends_counts() {
    let mut lineage = lineage();
    lineage.forks[0].at = 90;
    assert_eq!(lineage.locate(Position::new(e(1), 93), 160), Place::Beyond { fork: 90 });
}

#[test]
fn a_stranger_is_unknown() {
    assert_eq!(lineage().locate(Position::new(e(9), 1), 160), Place::Unknown);
}
