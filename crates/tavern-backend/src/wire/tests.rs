use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{DecodeError, READS, WRITES, decode, encode, lane};
use crate::{EventName, Lane, MessageEnvelope, MessageId, NodeId, Origin, Record, Scope, Topic};

fn small() -> Record {
    Record {
        origin: Origin { node: NodeId::from_u64(0x0102_0304_0506_0708), counter: 9 },
        waited: Duration::ZERO,
        envelope: MessageEnvelope::new(Topic::new("a/b").unwrap(), ""),
    }
}

fn full() -> Record {
    Record {
        waited: Duration::from_millis(300),
        envelope: MessageEnvelope {
            topic: Topic::new("a/b").unwrap(),
            data: "hé".into(),
            scope: Some(Scope::new("s").unwrap()),
            ttl: Some(Duration::from_millis(5)),
            id: Some(MessageId::new("i").unwrap()),
            event: Some(EventName::new("e").unwrap()),
        },
        ..small()
    }
}

/// The bytes of [`small`], cut into its fields.
const FORMAT: &[u8] = &[1];
const ORIGIN: &[u8] = &[1, 16, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9];
const TOPIC: &[u8] = b"\x03\x03a/b";
const DATA: &[u8] = &[13, 0];

fn bytes(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

#[track_caller]
fn refused(parts: &[&[u8]], error: DecodeError) {
    assert_eq!(decode(bytes(parts)), Err(error));
}

#[test]
fn golden_bytes_of_the_smallest_record() {
    let golden = bytes(&[FORMAT, ORIGIN, TOPIC, DATA]);
    assert_eq!(encode(&small()), golden);
    assert_eq!(decode(golden), Ok(small()));
}

#[test]
fn golden_bytes_of_a_full_record() {
    let golden = bytes(&[
        FORMAT,
        ORIGIN,
        &[2, 2, 0xac, 0x02],
        TOPIC,
        b"\x05\x01s",
        b"\x07\x01i",
        b"\x09\x01e",
        &[11, 1, 5],
        b"\x0d\x03h\xc3\xa9",
    ]);
    assert_eq!(encode(&full()), golden);
    assert_eq!(decode(golden), Ok(full()));
}

#[test]
fn the_payload_shares_the_memory_of_the_input() {
    let input = encode(&full());
    let record = decode(input.clone()).unwrap();
    let data = record.envelope.data.as_bytes();
    assert_eq!(data.as_ptr(), input[input.len() - data.len()..].as_ptr());
}

#[test]
fn durations_are_whole_milliseconds() {
    let mut record = full();
    record.waited = Duration::from_micros(1_999);
    record.envelope.ttl = Some(Duration::from_micros(1_001));
    let back = decode(encode(&record)).unwrap();
    assert_eq!(back.waited, Duration::from_millis(1));
    assert_eq!(back.envelope.ttl, Some(Duration::from_millis(2)));
    record.envelope.ttl = Some(Duration::ZERO);
    assert_eq!(decode(encode(&record)).unwrap().envelope.ttl, Some(Duration::from_millis(1)));
}

#[test]
fn the_next_format_is_read_and_its_harmless_additions_ignored() {
    assert_eq!((WRITES, READS), (1, 2));
    let newer = bytes(&[&[2], ORIGIN, TOPIC, b"\x04\x02??", DATA, b"\x80\x01\x01?"]);
    assert_eq!(decode(newer), Ok(small()));
}

#[test]
fn an_addition_that_matters_makes_it_undecodable_and_the_lane_is_still_told() {
    let newer = bytes(&[&[2], ORIGIN, TOPIC, b"\x05\x01s", DATA, b"\x0f\x01?"]);
    let error = decode(newer.clone()).unwrap_err();
    assert_eq!(error, DecodeError::Critical { tag: 15 });
    assert!(error.is_newer());
    let scope = Some(Scope::new("s").unwrap());
    assert_eq!(lane(&newer), Some(Lane { topic: Topic::new("a/b").unwrap(), scope }));
}

#[test]
fn formats_out_of_reach_are_named() {
    for (format, newer, lane_told) in [(0, false, false), (3, true, true), (128, true, false)] {
        let record = bytes(&[&[format], ORIGIN, TOPIC, DATA]);
        let error = decode(record.clone()).unwrap_err();
        assert_eq!(error, DecodeError::Format { found: format });
        assert_eq!(error.is_newer(), newer);
        assert_eq!(lane(&record).is_some(), lane_told, "{format}");
    }
}

#[test]
fn what_is_missing_is_an_error() {
    refused(&[], DecodeError::Truncated);
    refused(&[FORMAT, TOPIC, DATA], DecodeError::Malformed { reason: "it has no origin" });
    refused(&[FORMAT, ORIGIN, DATA], DecodeError::Malformed { reason: "it has no topic" });
    refused(&[FORMAT, ORIGIN, TOPIC], DecodeError::Malformed { reason: "it has no data" });
}

#[test]
fn every_prefix_is_an_error() {
    let whole = encode(&full());
    for end in 0..whole.len() {
        assert!(decode(whole.slice(..end)).is_err(), "{end}");
    }
}

#[test]
fn there_is_one_form_only() {
    let rising = DecodeError::Malformed { reason: "tags must rise, from 1" };
    refused(&[FORMAT, TOPIC, ORIGIN, DATA], rising.clone());
    refused(&[FORMAT, ORIGIN, ORIGIN, TOPIC, DATA], rising.clone());
    refused(&[FORMAT, &[0, 0], ORIGIN, TOPIC, DATA], rising);
    let zero = DecodeError::Malformed { reason: "a duration of zero is left out" };
    refused(&[FORMAT, ORIGIN, &[2, 1, 0], TOPIC, DATA], zero);
    let long = DecodeError::Malformed { reason: "a number is longer than its digits" };
    refused(&[FORMAT, ORIGIN, &[2, 2, 1, 1], TOPIC, DATA], long);
    let leading = DecodeError::Malformed { reason: "a number has a leading zero" };
    refused(&[FORMAT, ORIGIN, TOPIC, &[0x8d, 0x00, 0]], leading.clone());
    refused(&[FORMAT, ORIGIN, TOPIC, &[13, 0x80, 0]], leading);
    let origin = DecodeError::Malformed { reason: "an origin has 16 bytes" };
    refused(&[FORMAT, &[1, 1, 7], TOPIC, DATA], origin);
    let over = DecodeError::Malformed { reason: "a number is over 64 bits" };
    let huge = [0xff; 9];
    refused(&[FORMAT, &huge, &[0x02]], over.clone());
    refused(&[FORMAT, &huge, &[0xff, 0x01]], over);
}

#[test]
fn a_claimed_length_allocates_nothing() {
    refused(&[FORMAT, ORIGIN, TOPIC, &[13], &[0xff; 9], &[0x01]], DecodeError::Truncated);
}

#[test]
fn values_keep_the_rules_of_the_contract() {
    for (field, what) in [
        (&b"\x05\x00"[..], "scope"),
        (b"\x07\x01\n", "id"),
        (b"\x09\x07tavern-", "event"),
        (b"\x0d\x01\xff", "data"),
    ] {
        match decode(bytes(&[FORMAT, ORIGIN, TOPIC, field])) {
            Err(DecodeError::Invalid(invalid)) => assert_eq!(invalid.what(), what),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(lane(&bytes(&[FORMAT, ORIGIN, b"\x03\x01*", DATA])), None);
}

fn record() -> impl Strategy<Value = Record> {
    let line = "[^\r\n\0]{1,60}";
    let envelope = (
        "[a-z/é$]{1,255}".prop_filter_map("a topic", |t| Topic::new(t).ok()),
        any::<String>(),
        proptest::option::of(line.prop_filter_map("a scope", |s| Scope::new(s).ok())),
        proptest::option::of((1..=u64::MAX).prop_map(Duration::from_millis)),
        proptest::option::of(line.prop_filter_map("an id", |s| MessageId::new(s).ok())),
        proptest::option::of(line.prop_filter_map("an event", |s| EventName::new(s).ok())),
    )
        .prop_map(|(topic, data, scope, ttl, id, event)| MessageEnvelope {
            topic,
            data: data.into(),
            scope,
            ttl,
            id,
            event,
        });
    (any::<u64>(), any::<u64>(), any::<u64>(), envelope).prop_map(
        |(node, counter, waited, envelope)| Record {
            origin: Origin { node: NodeId::from_u64(node), counter },
            waited: Duration::from_millis(waited),
            envelope,
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(record in record()) {
        let encoded = encode(&record);
        prop_assert_eq!(lane(&encoded), Some(record.envelope.lane()));
        prop_assert_eq!(decode(encoded), Ok(record));
    }

    #[test]
    fn no_bytes_panic_and_what_decodes_has_one_form(
        mut input in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        if let Some(first) = input.first_mut() {
            *first = 1;
        }
        let input = Bytes::from(input);
        let _lane = lane(&input);
        if let Ok(record) = decode(input) {
            prop_assert_eq!(decode(encode(&record)), Ok(record));
        }
    }

    #[test]
    fn a_damaged_byte_never_panics(record in record(), at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = encode(&record).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _lane = lane(&bytes);
        if let Ok(record) = decode(bytes.into()) {
            prop_assert_eq!(decode(encode(&record)), Ok(record));
        }
    }
}
