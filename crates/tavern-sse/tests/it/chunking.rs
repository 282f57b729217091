//! Any bytes, cut anywhere, are read as the specification reads them.

use proptest::prelude::*;
use tavern_sse::{Item, ParseError, Parser, ParserConfig};

use crate::reference::{Said, interpret};
use crate::{chunks, text};

/// Bytes that are mostly made of what the parser looks for.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            &b"\n"[..], b"\r", b"\r\n", b"\n\n", b":", b": ", b" ", b"data", b"data:", b"data: ", b"id",
            b"id:", b"event:", b"retry:", b"0", b"17", b"\0", b"\xEF\xBB\xBF", b"\xEF", b"\xBB\xBF",
            b"\xE2\x80", b"\xFF", b"x",
        ])
        .prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
        1 => text().prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn read(parser: &mut Parser, chunks: &[&[u8]]) -> Vec<Result<Item, ParseError>> {
    let mut items = Vec::new();
    for chunk in chunks {
        items.extend(parser.push(chunk));
        if matches!(items.last(), Some(Err(_))) {
            break;
        }
    }
    items
}

fn said(item: Item) -> Option<Said> {
    match item {
        Item::Block(block) => {
            let message = block.message()?;
            let [event, data, id] = [message.event, message.data, message.last_event_id];
            Some(Said::Event(event.to_owned(), data.to_owned(), id.to_owned()))
        }
        Item::Retry(after) => Some(Said::Retry(after.as_millis().try_into().unwrap())),
        Item::Comment(text) => Some(Said::Comment(text)),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_parser_agrees_with_the_specification(bytes in stream(), cuts: Vec<usize>) {
        let mut parser = Parser::new();
        let items = read(&mut parser, &chunks(&bytes, &cuts));
        let items: Vec<_> = items.into_iter().filter_map(|item| said(item.unwrap())).collect();
        let (expected, last_event_id) = interpret(&bytes);
        prop_assert_eq!(items, expected);
        prop_assert_eq!(parser.last_event_id(), last_event_id);
    }

    #[test]
    fn chunking_changes_nothing(bytes in stream(), cuts: Vec<usize>, limit in 1usize..64) {
        let config = ParserConfig::default().with_max_event_bytes(limit);
        let mut whole = Parser::with_config(config.clone());
        let mut cut = Parser::with_config(config.clone());
        let mut single = Parser::with_config(config);
        let expected = read(&mut whole, &[&bytes]);
        prop_assert_eq!(&read(&mut cut, &chunks(&bytes, &cuts)), &expected);
        prop_assert_eq!(&read(&mut single, &bytes.chunks(1).collect::<Vec<_>>()), &expected);
        prop_assert_eq!(cut.last_event_id(), whole.last_event_id());
        prop_assert_eq!(cut.is_between_blocks(), whole.is_between_blocks());
    }

    #[test]
    fn any_bytes_at_all_are_a_stream(bytes: Vec<u8>, cuts: Vec<usize>) {
        let mut parser = Parser::new();
        prop_assert!(read(&mut parser, &chunks(&bytes, &cuts)).iter().all(Result::is_ok));
    }
}
