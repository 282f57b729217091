//! What is encoded comes back when it is parsed.

use std::time::Duration;

use bytes::BytesMut;
use proptest::option;
use proptest::prelude::*;
use tavern_sse::{FieldValue, Frame, Item, Parser, comment};

use crate::{chunks, text};

/// A frame that owns its fields.
#[derive(Clone, Debug)]
struct Owned {
    id: Option<String>,
    event: Option<String>,
    data: Option<String>,
    retry: Option<u64>,
}

impl Owned {
    fn frame(&self) -> Frame<'_> {
        Frame {
            id: self.id.as_deref().map(|id| FieldValue::new(id).unwrap()),
            event: self.event.as_deref().map(|event| FieldValue::new(event).unwrap()),
            data: self.data.as_deref(),
            retry: self.retry.map(Duration::from_millis),
        }
    }
}

fn field() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace(['\r', '\n', '\0'], ""))
}

fn frame() -> impl Strategy<Value = Owned> {
    let fields =
        (option::of(field()), option::of(field()), option::of(text()), option::of(any::<u64>()));
    fields.prop_map(|(id, event, data, retry)| Owned { id, event, data, retry })
}

fn normalised(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn every_field_survives_any_chunking(
        frames in prop::collection::vec(frame(), 0..5),
        cuts: Vec<usize>,
    ) {
        let mut wire = BytesMut::new();
        let mut expected = Vec::new();
        let mut last_event_id = String::new();
        for owned in &frames {
            let _ = owned.frame().encode_into(&mut wire);
            expected.extend(owned.retry.map(|ms| Ok(Duration::from_millis(ms))));
            if owned.id.is_some() || owned.event.is_some() || owned.data.is_some() {
                last_event_id = owned.id.clone().unwrap_or(last_event_id);
                let data = owned.data.as_deref().map(normalised);
                expected.push(Err((owned.id.clone(), owned.event.clone(), data, last_event_id.clone())));
            }
        }

        let mut parser = Parser::new();
        let mut seen = Vec::new();
        for chunk in chunks(&wire, &cuts) {
            for item in parser.push(chunk) {
                seen.push(match item.unwrap() {
                    Item::Retry(after) => Ok(after),
                    Item::Block(b) => Err((
                        b.id.as_deref().map(str::to_owned),
                        b.event,
                        b.data,
                        b.last_event_id.as_ref().to_owned(),
                    )),
                    other => panic!("no frame holds {other:?}"),
                });
            }
        }
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(parser.last_event_id(), last_event_id);
        prop_assert!(parser.is_between_blocks());
    }

    #[test]
    fn the_size_is_known_before_and_the_payload_found_after(owned in frame()) {
        let encoded = owned.frame().encode();
        prop_assert_eq!(encoded.bytes.len(), owned.frame().encoded_len());
        let single = owned.data.filter(|data| !data.contains(['\r', '\n']));
        prop_assert_eq!(encoded.payload(), single.map(bytes::Bytes::from));
    }

    #[test]
    fn a_comment_is_only_ever_a_comment(text in text()) {
        let mut parser = Parser::new();
        let mut lines = Vec::new();
        for item in parser.push(&comment(&text)) {
            match item.unwrap() {
                Item::Comment(line) => lines.push(line),
                other => panic!("no comment holds {other:?}"),
            }
        }
        prop_assert_eq!(lines.join("\n"), normalised(&text));
    }
}
