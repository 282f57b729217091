use super::{EventName, MAX_NAME, MessageId, Scope, Topic};

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, crate::Invalid>, message: &str) {
    assert_eq!(result.unwrap_err().to_string(), message);
}

#[test]
fn topics_are_segments() {
    for text in ["a", "a/b/c", "$tavern/canary", "a*b", "***", "h\u{e9}/ \u{1f600}", "-", ".", ".."]
    {
        assert_eq!(Topic::new(text).unwrap().as_str(), text);
    }
    let empty = "invalid topic: a segment between slashes is empty \
                 (no leading, trailing or double `/`)";
    for text in ["/", "/a", "a/", "a//b"] {
        refused(Topic::new(text), empty);
    }
    refused(Topic::new(""), "invalid topic: it is empty");
    refused(
        Topic::new("a/*/b"),
        "invalid topic: `*` is a wildcard: subscribe to it, but publish to a plain topic",
    );
    refused(
        Topic::new("**"),
        "invalid topic: `**` is a wildcard: subscribe to it, but publish to a plain topic",
    );
    for control in ["a\nb", "a\u{0}", "\u{7f}", "a\u{85}b"] {
        assert!(Topic::new(control).unwrap_err().reason().contains("control character"));
    }
    assert_eq!(Topic::new("a/b").unwrap().segments().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn reserved_topics_begin_with_a_dollar() {
    assert!(Topic::new("$x/y").unwrap().is_reserved());
    assert!(!Topic::new("x/$y").unwrap().is_reserved());
}

#[test]
fn names_have_a_limit_in_bytes() {
    let (fits, over) = ("a".repeat(MAX_NAME), "\u{e9}".repeat(128));
    assert!(
        Topic::new(&fits).is_ok() && Scope::new(&fits).is_ok() && MessageId::new(&fits).is_ok()
    );
    refused(Topic::new(&over), "invalid topic: it has 256 bytes, 255 at most are allowed");
    refused(Scope::new(&over), "invalid scope: it has 256 bytes, 255 at most are allowed");
}

#[test]
fn lines_have_no_breaks() {
    for text in ["a\rb", "\n", "a\u{0}"] {
        refused(Scope::new(text), "invalid scope: it contains a line break or NUL");
        refused(MessageId::new(text), "invalid id: it contains a line break or NUL");
        refused(EventName::new(text), "invalid event: it contains a line break or NUL");
    }
    refused(Scope::new(""), "invalid scope: it is empty");
    assert!(Scope::new("user:42 \u{7f}\u{85}~").is_ok());
}

#[test]
fn nobody_can_imitate_a_control_event() {
    refused(
        EventName::new("tavern-cursor"),
        "invalid event: names beginning with `tavern-` are reserved for control events",
    );
    assert!(EventName::new("tavern").is_ok() && EventName::new("Tavern-x").is_ok());
}

#[test]
fn names_are_their_text_everywhere() {
    let topic: Topic = "a/b".parse().unwrap();
    assert_eq!((topic.to_string(), format!("{topic:?}")), ("a/b".into(), "\"a/b\"".into()));
    assert_eq!(serde_json::to_string(&topic).unwrap(), "\"a/b\"");
    assert_eq!(serde_json::from_str::<Topic>("\"a\\u002fb\"").unwrap(), topic);
    assert!(serde_json::from_str::<Topic>("\"a//b\"").is_err());
    assert_eq!(Topic::try_from("a/b".to_owned()).unwrap(), topic);
}
