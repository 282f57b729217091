use std::time::Duration;

use proptest::prelude::*;

use super::MessageEnvelope;
use crate::{EventName, MessageId, Scope, Topic};

fn envelope(topic: &str, data: &str) -> MessageEnvelope {
    MessageEnvelope::new(Topic::new(topic).unwrap(), data)
}

fn full() -> MessageEnvelope {
    MessageEnvelope {
        scope: Some(Scope::new("user:42").unwrap()),
        ttl: Some(Duration::from_millis(1500)),
        id: Some(MessageId::new("evt-1").unwrap()),
        event: Some(EventName::new("created").unwrap()),
        ..envelope("orders/7", r#"{"total":3}"#)
    }
}

#[track_caller]
fn refused(json: &str, what: &str, reason: &str) {
    let invalid = MessageEnvelope::from_json(json.as_bytes()).unwrap_err();
    assert_eq!((invalid.what(), invalid.reason()), (what, reason));
}

#[test]
fn every_field_in_the_order_of_the_contract() {
    let json = r#"{"topic":"orders/7","data":"{\"total\":3}","scope":"user:42","ttl":1500,"id":"evt-1","event":"created"}"#;
    assert_eq!(full().to_json(), json);
    assert_eq!(MessageEnvelope::from_json(json.as_bytes()), Ok(full()));
}

#[test]
fn empty_fields_are_left_out() {
    let json = r#"{"topic":"orders","data":""}"#;
    assert_eq!(envelope("orders", "").to_json(), json);
    assert_eq!(MessageEnvelope::from_json(json.as_bytes()), Ok(envelope("orders", "")));
}

#[test]
fn hostile_text_is_escaped_as_go_does() {
    let data = "<script>&\u{2028}\u{2029}\"\\/\u{0}\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f}\u{7f}é😀";
    let json = concat!(
        r#"{"topic":"a\u003cb\u003e\u0026","data":"\u003cscript\u003e\u0026\u2028\u2029\"\\/"#,
        r"\u0000\u0001\b\t\n\u000b\f\r\u001f",
        "\u{7f}é😀\"}"
    );
    assert_eq!(envelope("a<b>&", data).to_json(), json);
    assert_eq!(MessageEnvelope::from_json(json.as_bytes()), Ok(envelope("a<b>&", data)));
}

#[test]
fn a_ttl_is_whole_milliseconds_and_zero_is_none() {
    let ttl = |text: &str| {
        let json = format!(r#"{{"topic":"a","data":"","ttl":{text}}}"#);
        MessageEnvelope::from_json(json.as_bytes()).map(|envelope| envelope.ttl)
    };
    assert_eq!(ttl("0"), Ok(None));
    assert_eq!(ttl("null"), Ok(None));
    assert_eq!(ttl("1"), Ok(Some(Duration::from_millis(1))));
    assert_eq!(ttl(&u64::MAX.to_string()), Ok(Some(Duration::from_millis(u64::MAX))));
    for wrong in ["-1", "1.5", "\"1\"", "1e3", "18446744073709551616", "[]"] {
        assert_eq!(ttl(wrong).unwrap_err().what(), "ttl", "{wrong}");
    }
    // Rounded down, it would never expire.
    for short in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(1)] {
        let envelope = MessageEnvelope { ttl: Some(short), ..envelope("a", "") };
        assert_eq!(envelope.to_json(), r#"{"topic":"a","data":"","ttl":1}"#);
    }
    let envelope = MessageEnvelope { ttl: Some(Duration::MAX), ..envelope("a", "") };
    assert_eq!(envelope.to_json(), r#"{"topic":"a","data":"","ttl":18446744073709551615}"#);
}

#[test]
fn unknown_fields_are_ignored_and_order_is_free() {
    let json = r#" {"x":[{}],"data":"d","TTL":"?","topic":"t","id":null,"scope":null} "#;
    assert_eq!(MessageEnvelope::from_json(json.as_bytes()), Ok(envelope("t", "d")));
}

#[test]
fn an_empty_scope_is_refused_and_never_a_broadcast() {
    refused(
        r#"{"topic":"t","data":"d","scope":""}"#,
        "scope",
        "it is empty: leave the field out for a message that everybody may see",
    );
}

#[test]
fn what_is_refused_is_named() {
    refused(r#"{"data":""}"#, "topic", "it is missing: a message goes to one topic");
    refused(r#"{"topic":"t"}"#, "data", "it is missing: send an empty string for an empty message");
    refused(
        r#"{"topic":"t","data":{"a":1}}"#,
        "data",
        "a string is expected: JSON travels as text, with its quotes escaped",
    );
    refused(r#"{"topic":7,"data":""}"#, "topic", "a string is expected, not a number");
    refused(
        r#"{"topic":"t","data":"","id":true}"#,
        "id",
        "a string is expected, not a truth value",
    );
    refused(r#"{"topic":"t","data":"","id":""}"#, "id", "it is empty");
    for (json, what) in [
        (r#"{"topic":"a/*","data":""}"#, "topic"),
        (r#"{"topic":"t","data":"","id":"a\nb"}"#, "id"),
        (r#"{"topic":"t","data":"","event":"tavern-cursor"}"#, "event"),
        (r#"{"topic":"t","topic":"u","data":""}"#, "message"),
        (r#"{"topic":"t","data":"\ud800"}"#, "message"),
        (r#"{"topic":"t","data":""} x"#, "message"),
        ("", "message"),
        ("[]", "message"),
        ("\"t\"", "message"),
    ] {
        let invalid = MessageEnvelope::from_json(json.as_bytes()).unwrap_err();
        assert_eq!(invalid.what(), what, "{json}: {invalid}");
    }
    let not_utf8 = b"{\"topic\":\"t\",\"data\":\"\xff\"}";
    assert_eq!(MessageEnvelope::from_json(not_utf8).unwrap_err().what(), "message");
}

#[test]
fn plain_serde_reads_and_writes_the_same() {
    let json = serde_json::to_string(&full()).unwrap();
    assert_eq!(json, full().to_json());
    assert_eq!(serde_json::from_str::<MessageEnvelope>(&json).unwrap(), full());
    let error = serde_json::from_str::<MessageEnvelope>(r#"{"topic":"a//b","data":""}"#);
    assert!(error.unwrap_err().to_string().starts_with("invalid topic: a segment"));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        data in any::<String>(),
        scope in proptest::option::of("[^\r\n\0]{1,20}"),
        id in proptest::option::of("[^\r\n\0]{1,20}"),
        ttl in proptest::option::of(1..u64::MAX),
    ) {
        let envelope = MessageEnvelope {
            scope: scope.map(Scope::new).transpose().unwrap(),
            ttl: ttl.map(Duration::from_millis),
            id: id.map(MessageId::new).transpose().unwrap(),
            ..envelope("orders", &data)
        };
        let json = envelope.to_json();
        let escaped = !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']);
        prop_assert!(escaped);
        prop_assert_eq!(MessageEnvelope::from_json(json.as_bytes()), Ok(envelope));
    }
}

/// It is stored: what two releases make of a message must be the same.
#[test]
fn a_fingerprint_is_of_data_and_event() {
    let mut envelope = MessageEnvelope::new(Topic::new("t").unwrap(), "a");
    assert_eq!(envelope.fingerprint(), "1-af63dc4c8601ec8c-cbf29ce484222325");
    envelope.topic = Topic::new("other").unwrap();
    assert_eq!(envelope.fingerprint(), "1-af63dc4c8601ec8c-cbf29ce484222325");
    envelope.event = Some(EventName::new("a").unwrap());
    assert_eq!(envelope.fingerprint(), "1-af63dc4c8601ec8c-af63dc4c8601ec8c");
}
