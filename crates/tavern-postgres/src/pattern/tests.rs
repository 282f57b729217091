use tavern_backend::Retention;

use super::*;

#[test]
fn patterns() {
    for (filter, expected) in [
        ("a", "a"),
        ("a/b.c", r"a/b\.c"),
        ("a/*", "a/[^/]+"),
        ("*/b", "[^/]+/b"),
        ("a/**", "a(?:/[^/]+)*"),
        ("**", "[^/]+(?:/[^/]+)*"),
        ("**/b", "(?:[^/]+/)*b"),
        ("a/**/b", "a(?:/[^/]+)*/b"),
        ("ü(1)\\d", r"ü\(1\)\\d"),
    ] {
        assert_eq!(pattern(&TopicFilter::new(filter).unwrap()), expected, "{filter}");
    }
}

#[test]
fn some_in_each() {
    let filter = |n: i32| TopicFilter::new(format!("{n}/*")).unwrap();
    assert_eq!(any(&[]), Vec::<String>::new());
    assert_eq!(any(&[filter(1), filter(2)]), ["^(?:1/[^/]+|2/[^/]+)$"]);
    assert_eq!(any(&(0..=2 * WIDTH).map(filter).collect::<Vec<_>>()).len(), 3);
    let rules = |count: i32| {
        let rules = (0..count)
            .fold(Retention::default(), |rules, n| rules.with_rule(filter(n), Keep::live()));
        Rules::new(&rules)
    };
    assert_eq!(rules(1).patterns, ["^(?:(0/[^/]+)|(.*))$"]);
    assert_eq!(rules(WIDTH).patterns.len(), 2);
    assert_eq!(rules(WIDTH).patterns[1], "^(?:(.*))$");
}
