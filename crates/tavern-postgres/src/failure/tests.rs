use super::*;

#[test]
fn what_ends_the_link_and_what_does_not() {
    for (code, link, absent, again) in [
        ("57P01", true, false, false),
        ("57P03", true, false, false),
        ("08006", true, false, false),
        ("25006", true, false, false),
        ("53300", true, false, false),
        ("55000", true, false, false),
        ("28P01", true, false, false),
        ("57014", false, false, false),
        ("53100", false, false, false),
        ("42501", false, false, false),
        ("42P01", false, true, false),
        ("3F000", false, true, false),
        ("40P01", false, false, true),
        ("40001", false, false, true),
        ("XX000", false, false, false),
    ] {
        let failure = of_server(&SqlState::from_code(code), "why");
        assert_eq!((failure.link, failure.absent, failure.again), (link, absent, again), "{code}");
        assert_eq!(failure.full, code == "53100", "{code}");
        // One that ends the connection may have done it before.
        assert_eq!(failure.unknown, code.starts_with("57P") || code.starts_with("08"), "{code}");
        assert!(failure.reason.contains("why"), "{code}");
    }
}
