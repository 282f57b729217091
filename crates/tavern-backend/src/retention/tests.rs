use super::*;

#[test]
fn rules_can_be_said() {
    let default = Retention::default();
    assert_eq!(default.to_string(), "256 messages of at most 300s of every topic");
    let rules = Retention::default()
        .with_rule(TopicFilter::new("live/**").unwrap(), Keep::live())
        .with_rule(TopicFilter::new("a").unwrap(), Keep::new(7, Duration::ZERO));
    assert_eq!(
        rules.to_string(),
        "nothing of `live/**`, 7 messages of any age of `a`, 256 messages of at most 300s of the \
         rest"
    );
    let said = rules.explain_mismatch(&default);
    assert!(said.starts_with("this node is configured to keep nothing of `live/**`"), "{said}");
    assert!(said.contains("the log keeps 256 messages of at most 300s of every topic"), "{said}");
}
