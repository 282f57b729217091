use std::collections::BTreeSet;
use std::time::Duration;

use super::plan::{Engine, Plan};
use super::topics;

#[test]
fn a_seed_makes_the_same_plan_and_another_seed_another() {
    let plan = |seed| Plan::new(Engine::Redis, 3, Duration::from_secs(600), seed);
    assert_eq!(plan(1), plan(1));
    assert_ne!(plan(1), plan(2));
    assert_eq!(plan(1).to_string().lines().count(), plan(1).steps.len());
}

#[test]
fn everything_that_can_happen_happens_before_anything_happens_again() {
    for engine in Engine::ALL {
        let plan = Plan::new(engine, 2, Duration::from_secs(60), 7);
        let kinds = engine.faults();
        let first = plan.steps.iter().take(kinds.len()).map(|step| step.fault);
        assert_eq!(first.collect::<BTreeSet<_>>(), kinds.into_iter().collect());
        assert!(plan.steps.iter().all(|step| step.hub < 2));
    }
}

#[test]
fn every_lane_is_followed() {
    let lanes = topics::lanes();
    assert_eq!(lanes.len(), 24);
    let followed = (0..24).map(topics::wish).map(|wish| wish.topics);
    assert!(followed.clone().all(|topics| topics > 0));
    assert_eq!(followed.max(), Some(16));
}
