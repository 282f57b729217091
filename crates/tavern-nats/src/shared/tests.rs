use std::time::Duration;

use tavern_backend::{Epoch, Keep, LogTime, Retention};

use super::*;
use crate::index::Seen;
use crate::meta::Meta;
use crate::stream::Limits;

const LIMITS: Limits =
    Limits { per_subject: Some(65), age: None, closed: true, replicas: 1, largest: None };

/// A node that missed two forks: what it knows above the lower of them was cut off.
#[test]
fn what_lies_above_any_fork_since_is_forgotten() {
    let config = NatsConfig::new("127.0.0.1", 1);
    let connector = Connector::new(&config, "x".to_owned()).unwrap();
    let shared = Shared::new(config, NodeId::from_u64(1), connector);
    let epoch = Epoch::from_u64;
    let retention = Retention::default().with_default(Keep::new(64, Duration::ZERO));
    let first = Meta::new("log".into(), "now".into(), epoch(1), retention);
    shared.set_view(&Arc::new(shared.view_of(1, first.clone(), LIMITS).unwrap()), 0);
    for seq in 1..=100 {
        let seen = Seen { seq, name: "_.a", time: LogTime::from_millis(1) };
        shared.index().as_mut().unwrap().pushed(seen);
    }
    let mut third = first;
    let mut lineage = third.lineage().unwrap();
    lineage.fork(epoch(2), 95);
    lineage.fork(epoch(3), 200);
    third.set_lineage(&lineage);
    shared.set_view(&Arc::new(shared.view_of(5, third, LIMITS).unwrap()), 210);
    let mut index = shared.index();
    let index = index.as_mut().unwrap();
    assert_eq!((index.epoch(), index.low(), index.high()), (epoch(3), 210, 210));
}
