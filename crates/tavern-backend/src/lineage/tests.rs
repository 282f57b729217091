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

#[test]
fn a_fork_ends_the_current_epoch_where_it_stands() {
    let mut lineage = Lineage::first(e(1));
    lineage.fork(e(2), 95);
    lineage.fork(e(3), 150);
    lineage.forks[1].lost_through = 100;
    assert_eq!(lineage, self::lineage());
    for n in 4..1000 {
        lineage.fork(e(n), 150);
    }
    assert_eq!((lineage.epoch, lineage.forks.len()), (e(999), Lineage::MAX_FORKS));
    assert_eq!(lineage.forks[0].parent, e(998));
    assert_eq!(lineage.locate(Position::new(e(1), 1), 160), Place::Unknown);
}

#[test]
fn a_known_position_beyond_a_fork_raises_what_was_lost() {
    let mut lineage = lineage();
    for (epoch, seq) in [(3, 999), (2, 150), (1, 100), (9, 999)] {
        assert!(!lineage.learn(Position::new(e(epoch), seq)), "{epoch}-{seq}");
    }
    assert_eq!(lineage, self::lineage());
    assert!(lineage.learn(Position::new(e(2), 151)));
    assert_eq!(lineage.forks[0].lost_through, 151);
    assert!(lineage.learn(Position::new(e(1), 101)));
    assert_eq!(lineage.forks[1].lost_through, 101);
}

#[test]
fn what_a_later_and_lower_fork_cut_off_is_raised_there() {
    let mut lineage = Lineage::first(e(1));
    lineage.fork(e(2), 95);
    lineage.fork(e(3), 90);
    assert!(lineage.learn(Position::new(e(1), 93)));
    assert_eq!(lineage.forks.iter().map(|f| f.lost_through).collect::<Vec<_>>(), [93, 95]);
}
