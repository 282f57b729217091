//! Whatever lies in a log: decoding does not panic, and what it yields has one form, which decodes
//! to the same again and not when it is cut short.
#![no_main]

use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tavern_backend::wire::{decode, encode, lane};
use tavern_backend::{
    EventName, Invalid, MessageEnvelope, MessageId, NodeId, Origin, Payload, Record, Scope, Topic,
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cut: u16,
    source: Source<'a>,
}

#[derive(Arbitrary, Debug)]
enum Source<'a> {
    Stored(&'a [u8]),
    Published(Published<'a>),
}

#[derive(Arbitrary, Debug)]
struct Published<'a> {
    node: u64,
    counter: u64,
    waited: u64,
    ttl: Option<NonZeroU64>,
    topic: &'a str,
    scope: Option<&'a str>,
    id: Option<&'a str>,
    event: Option<&'a str>,
    data: &'a str,
}

impl Published<'_> {
    fn record(&self) -> Result<Record, Invalid> {
        let data = Payload::from_utf8(Bytes::copy_from_slice(self.data.as_bytes()))?;
        Ok(Record {
            origin: Origin { node: NodeId::from_u64(self.node), counter: self.counter },
            waited: Duration::from_millis(self.waited),
            envelope: MessageEnvelope {
                scope: self.scope.map(Scope::new).transpose()?,
                ttl: self.ttl.map(|millis| Duration::from_millis(millis.get())),
                id: self.id.map(MessageId::new).transpose()?,
                event: self.event.map(EventName::new).transpose()?,
                ..MessageEnvelope::new(Topic::new(self.topic)?, data)
            },
        })
    }
}

fn check_round_trip(record: &Record, cut: usize) -> Bytes {
    let bytes = encode(record);
    assert_eq!(decode(bytes.clone()).as_ref(), Ok(record));
    assert_eq!(lane(&bytes), Some(record.envelope.lane()));
    // A field from the future, behind all there are: an even tag is harmless, an odd one is not.
    let with = |tag: u8| Bytes::from([&bytes[..], &[tag, 0]].concat());
    assert_eq!(decode(with(14)).as_ref(), Ok(record));
    assert!(decode(with(15)).is_err_and(|err| err.is_newer()));
    let cut = bytes.slice(..cut % bytes.len());
    assert!(decode(cut).is_err(), "the data comes last, so a part of a record is none");
    bytes
}

fuzz_target!(|input: Input<'_>| {
    let cut = usize::from(input.cut);
    let stored = match &input.source {
        Source::Published(published) => {
            if let Ok(record) = published.record() {
                let _ = check_round_trip(&record, cut);
            }
            return;
        }
        Source::Stored(bytes) => Bytes::copy_from_slice(bytes),
    };
    let told = lane(&stored);
    let Ok(record) = decode(stored.clone()) else { return };
    assert_eq!(told, Some(record.envelope.lane()));
    let data = record.envelope.data.as_bytes();
    assert!(data.is_empty() || stored.as_ptr_range().contains(&data.as_ptr()), "data was copied");

    let written = check_round_trip(&record, cut);
    // Only fields that a newer version added may have gone; else nothing but the format differs.
    assert!(written.len() <= stored.len());
    if written.len() == stored.len() {
        assert_eq!(written[1..], stored[1..]);
    }
});
