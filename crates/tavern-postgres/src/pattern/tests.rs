use super::*;

#[test]
fn patterns() {
    for (filter, expected) in [
        ("a", "^a$"),
        ("a/b.c", r"^a/b\.c$"),
        ("a/*", "^a/[^/]+$"),
        ("*/b", "^[^/]+/b$"),
        ("a/**", "^a(/[^/]+)*$"),
        ("**", "^[^/]+(/[^/]+)*$"),
        ("**/b", "^([^/]+/)*b$"),
        ("a/**/b", "^a(/[^/]+)*/b$"),
        ("ü(1)\\d", r"^ü\(1\)\\d$"),
    ] {
        assert_eq!(pattern(&TopicFilter::new(filter).unwrap()), expected, "{filter}");
    }
}
