use super::*;

const KNOWN: &[&str] = &["topic", "scope", "lastEventId"];

fn parse(query: &str) -> Query {
    Query::parse(Some(query), KNOWN).unwrap()
}

#[test]
fn repeated_parameters_keep_their_order() {
    let query = parse("topic=b/**&scope=s&topic=a&&topic=");
    let topics: Vec<_> = query.all("topic").map(Result::unwrap).collect();
    assert_eq!(topics, ["b/**", "a", ""]);
    assert_eq!(query.one("scope").unwrap(), Some("s"));
    assert_eq!(query.one("lastEventId").unwrap(), None);
}

#[test]
fn values_are_decoded_as_browsers_encode_them() {
    let query = parse("topic=a%2Fb+c%2B%C3%A9&lastEventId=%ff%00");
    assert_eq!(query.one("topic").unwrap(), Some("a/b c+é"));
    assert_eq!(query.bytes("lastEventId").unwrap(), Some(&b"\xff\0"[..]));
    assert_eq!(query.one("lastEventId").unwrap_err().kind, Kind::InvalidParameter);
}

#[test]
fn what_is_not_known_is_named_with_what_is() {
    let problem = Query::parse(Some("topics=a"), KNOWN).unwrap_err();
    assert_eq!(problem.kind, Kind::UnknownParameter);
    assert!(problem.detail.contains("`topics`"), "{}", problem.detail);
    assert!(problem.detail.contains("`topic`, `scope`, `lastEventId`"), "{}", problem.detail);
}

#[test]
fn a_parameter_given_twice_is_refused_where_one_is_meant() {
    assert_eq!(parse("scope=a&scope=a").one("scope").unwrap_err().kind, Kind::InvalidParameter);
}

#[test]
fn a_path_must_decode_to_text() {
    assert_eq!(decode_path("a%2Fb%20c+d").unwrap(), "a/b c+d");
    assert_eq!(decode_path("a%ff").unwrap_err().kind, Kind::InvalidTopic);
}
