//! Whatever a server sends, and however it is cut: the parser does not panic, reads the same at
//! every chunking, agrees with the specification, and what it read survives being encoded again.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tavern_sse::{Block, FieldValue, Frame, Item, ParseError, Parser, ParserConfig};

#[path = "../../crates/tavern-sse/tests/it/reference.rs"]
mod reference;
use reference::{Said, interpret};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    limit: u8,
    cuts: [u8; 4],
    stream: &'a [u8],
}

type Read = Vec<Result<Item, ParseError>>;

fn read<'a>(parser: &mut Parser, chunks: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let mut items = Read::new();
    for chunk in chunks {
        items.extend(parser.push(chunk));
        if matches!(items.last(), Some(Err(_))) {
            break;
        }
    }
    items
}

fn chunks<'a>(stream: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|&cut| usize::from(cut) % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

fn check_chunking(input: &Input<'_>, config: &ParserConfig) -> (Parser, Read) {
    let mut whole = Parser::with_config(config.clone());
    let items = read(&mut whole, [input.stream]);
    for chunks in [chunks(input.stream, &input.cuts), input.stream.chunks(1).collect()] {
        let mut cut = Parser::with_config(config.clone());
        assert_eq!(read(&mut cut, chunks), items);
        assert_eq!(cut.last_event_id(), whole.last_event_id());
        assert_eq!(cut.is_between_blocks(), whole.is_between_blocks());
    }
    (whole, items)
}

fn check_encoding(block: &Block) {
    // A NUL in an event name can be read but not be written.
    let Ok(event) = block.event.as_deref().map(FieldValue::new).transpose() else { return };
    let id = block.id.as_deref().map(|id| FieldValue::new(id).expect("the parser ignores NUL"));
    let data = block.data.as_deref();
    let frame = Frame { id, event, data, ..Frame::default() };
    let encoded = frame.encode();
    assert_eq!(encoded.bytes.len(), frame.encoded_len());
    if let Some(payload) = encoded.payload() {
        assert_eq!(Some(&payload[..]), data.map(str::as_bytes));
    }
    let mut parser = Parser::new().with_last_event_id(&block.last_event_id);
    assert_eq!(read(&mut parser, [&encoded.bytes[..]]), [Ok(Item::Block(block.clone()))]);
}

fuzz_target!(|input: Input<'_>| {
    let limited = ParserConfig::default().with_max_event_bytes(usize::from(input.limit));
    let _ = check_chunking(&input, &limited);

    let (parser, items) = check_chunking(&input, &ParserConfig::default());
    let mut said = Vec::new();
    for item in items {
        match item.expect("far below the default limit") {
            Item::Block(block) => {
                said.extend(block.message().map(|message| {
                    let [event, data, id] = [message.event, message.data, message.last_event_id];
                    Said::Event(event.to_owned(), data.to_owned(), id.to_owned())
                }));
                check_encoding(&block);
            }
            Item::Retry(after) => {
                said.push(Said::Retry(after.as_millis().try_into().expect("at most u64")));
            }
            Item::Comment(text) => said.push(Said::Comment(text)),
            other => panic!("not known here: {other:?}"),
        }
    }
    let (expected, last_event_id) = interpret(input.stream);
    assert_eq!(said, expected);
    assert_eq!(parser.last_event_id(), last_event_id);
});
