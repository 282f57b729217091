use std::time::Duration;

use tavern_backend::{Keep, Retention, TopicFilter};

use super::Said;

#[test]
fn rules_can_be_said() {
    assert_eq!(
        Said(&Retention::default()).to_string(),
        "256 messages of at most 300s of every topic"
    );
    let rules = Retention::default()
        .with_rule(TopicFilter::new("live/**").unwrap(), Keep::live())
        .with_rule(TopicFilter::new("a").unwrap(), Keep::new(7, Duration::ZERO));
    assert_eq!(
        Said(&rules).to_string(),
        "nothing of `live/**`, 7 messages of any age of `a`, 256 messages of at most 300s of the \
         rest"
    );
}
