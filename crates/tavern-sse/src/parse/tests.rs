use super::*;

fn items(parser: &mut Parser, input: &[u8]) -> Vec<Item> {
    parser.push(input).collect::<Result<_, _>>().unwrap()
}

fn blocks(parser: &mut Parser, input: &str) -> Vec<Block> {
    let of = |item| if let Item::Block(block) = item { Some(block) } else { None };
    items(parser, input.as_bytes()).into_iter().filter_map(of).collect()
}

/// Checks the messages a browser would dispatch, whole and byte by byte.
#[track_caller]
fn check(input: impl AsRef<[u8]>, expected: &[(&str, &str)]) {
    let input = input.as_ref();
    for chunk in [input.len().max(1), 1] {
        let mut parser = Parser::new();
        let mut seen = Vec::new();
        for item in input.chunks(chunk).flat_map(|chunk| items(&mut parser, chunk)) {
            if let Item::Block(block) = item {
                let message = block.message();
                seen.extend(message.map(|m| (m.event.to_owned(), m.data.to_owned())));
            }
        }
        let seen: Vec<_> = seen.iter().map(|(event, data)| (&event[..], &data[..])).collect();
        assert_eq!(seen, expected, "in chunks of {chunk}");
    }
}

// The inputs up to the next comment are those of web-platform-tests, eventsource/format-*.

#[test]
fn field_names_are_exact_and_one_space_is_taken_away() {
    check(
        "data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
        &[("message", "\0\n 2\n1\n3\n\n4")],
    );
    check("data:\ttest\rdata: \ndata:test\n\n", &[("message", "\ttest\n\ntest")]);
}

#[test]
fn one_byte_order_mark_at_the_start_is_not_part_of_the_stream() {
    check("\u{feff}data:1\n\n\u{feff}data:2\n\ndata:3\n\n", &[("message", "1"), ("message", "3")]);
    check("\u{feff}\u{feff}data:1\n\ndata:2\n\n", &[("message", "2")]);
    check("\n\u{feff}data:1\n\n", &[]);
    check("data:\u{feff}1\n\n", &[("message", "\u{feff}1")]);
    check("\u{feff}\n\ndata:1\n\n", &[("message", "1")]);
}

#[test]
fn comments_do_not_touch_the_block_around_them() {
    check(
        "data:1\r:\0\n:\r\ndata:2\n:longstring\rdata:3\n:data:fail\r:longstring\ndata:4\n\n",
        &[("message", "1\n2\n3\n4")],
    );
}

#[test]
fn lines_end_with_any_of_the_three_endings() {
    check("data:test\r\ndata\ndata:test\r\n\r", &[("message", "test\n\ntest")]);
    check(
        "data:a\r\rdata:b\n\ndata:c\r\n\r\n",
        &[("message", "a"), ("message", "b"), ("message", "c")],
    );
    check("data:a\n\rdata:b\r\n\n", &[("message", "a"), ("message", "b")]);
}

#[test]
fn empty_data_is_dispatched_and_an_unfinished_block_is_not() {
    check("data:\n\ndata\ndata\n\ndata:test", &[("message", ""), ("message", "\n")]);
    check("data:x\n", &[]);
}

#[test]
fn an_empty_event_name_is_a_message_and_names_end_with_their_block() {
    check("event:test\ndata:1\n\ndata:2\n\n", &[("test", "1"), ("message", "2")]);
    check("event:a\nevent: \ndata:x\n\n", &[("message", "x")]);
    check("event:gone\n\ndata:x\n\n", &[("message", "x")]);
}

#[test]
fn what_is_not_utf8_is_replaced() {
    check(b"data:ok\xE2\x80\xA6\n\n", &[("message", "ok…")]);
    check(
        b"event:\xFF\ndata:\xF0\x9F\x92\ndata:\xE2\x80\n\n",
        &[("\u{fffd}", "\u{fffd}\n\u{fffd}")],
    );
}

// From here on: what is on the wire, and how the parser is used.

#[test]
fn a_block_says_what_was_on_the_wire() {
    let mut parser = Parser::new();
    let seen = blocks(
        &mut parser,
        "id:1\nid: 2\nevent:a\nevent:b\ndata:x\n\nid\n\nevent:e\n\nother:x\n\n\n",
    );
    let fields: Vec<_> =
        seen.iter().map(|b| (b.id.as_deref(), b.event.as_deref(), b.data.as_deref())).collect();
    assert_eq!(
        fields,
        [(Some("2"), Some("b"), Some("x")), (Some(""), None, None), (None, Some("e"), None)]
    );
    assert_eq!(seen[1].message(), None);
}

#[test]
fn the_last_event_id_stays_until_another_comes() {
    let mut parser = Parser::new().with_last_event_id("0");
    let seen = blocks(&mut parser, "data:a\n\nid:1\ndata:b\n\ndata:c\n\nid:\ndata:d\n\n");
    let ids: Vec<_> = seen.iter().map(|b| b.message().unwrap().last_event_id).collect();
    assert_eq!(ids, ["0", "1", "1", ""]);
    assert_eq!(parser.last_event_id(), "");
}

#[test]
fn an_id_counts_only_once_its_block_is_complete() {
    let mut parser = Parser::new();
    let _ = items(&mut parser, b"id:1\ndata:a\n");
    assert_eq!(parser.last_event_id(), "");
    let _ = items(&mut parser, b"\n");
    assert_eq!(parser.last_event_id(), "1");
}

#[test]
fn an_id_with_nul_is_not_seen() {
    let mut parser = Parser::new();
    let seen = blocks(&mut parser, "id:1\nid:2\0\ndata:a\n\nid:\0\n\n");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].id.as_deref(), Some("1"));
    assert_eq!(parser.last_event_id(), "1");
}

#[track_caller]
fn check_id_without_data(rule: IdWithoutData, expected: [&str; 4]) {
    let mut parser = Parser::with_config(ParserConfig::default().with_id_without_data(rule));
    let wire = [
        "id:1\ndata:a\n\n",
        "id:2\nevent:e\n\n",
        "data:b\n\n",
        "id:3\n\nid:4\ndata:c\n\ndata:d\n\n",
    ];
    let seen = wire.map(|wire| {
        let _ = items(&mut parser, wire.as_bytes());
        parser.last_event_id().to_owned()
    });
    assert_eq!(seen, expected);
}

#[test]
fn browsers_disagree_on_an_id_without_data_and_each_reading_is_offered() {
    assert_eq!(ParserConfig::default().id_without_data, IdWithoutData::Apply);
    check_id_without_data(IdWithoutData::Apply, ["1", "2", "2", "4"]);
    check_id_without_data(IdWithoutData::Drop, ["1", "1", "1", "4"]);
    check_id_without_data(IdWithoutData::Defer, ["1", "1", "2", "4"]);
}

#[test]
fn retry_takes_digits_only() {
    let retries = |input: &str| {
        let found = items(&mut Parser::new(), input.as_bytes());
        found
            .into_iter()
            .map(|item| if let Item::Retry(after) = item { after.as_millis() } else { 0 })
            .collect::<Vec<_>>()
    };
    assert_eq!(retries("retry:3000\nretry: 007\nretry\n"), [3000, 7]);
    assert_eq!(retries("retry:1000x\nretry:+1\nretry:-1\nretry:1.5\nretry:  1\nretry:٣\n"), []);
    assert_eq!(retries("retry:18446744073709551616\n"), [u128::from(u64::MAX)]);
}

#[test]
fn items_come_in_the_order_their_lines_were_read() {
    let found = items(&mut Parser::new(), b"data:a\n: hi\nretry:5\n:  two\n\n:\n");
    let kinds: Vec<_> = found
        .iter()
        .map(|item| match item {
            Item::Block(block) => format!("block {}", block.data.as_deref().unwrap_or("-")),
            Item::Retry(after) => format!("retry {}", after.as_millis()),
            Item::Comment(text) => format!("comment {text:?}"),
        })
        .collect();
    assert_eq!(kinds, ["comment \"hi\"", "retry 5", "comment \" two\"", "block a", "comment \"\""]);
}

#[test]
fn a_carriage_return_at_the_end_of_a_chunk_completes_the_block_at_once() {
    let mut parser = Parser::new();
    assert_eq!(items(&mut parser, b"data:a\r").len(), 0);
    assert_eq!(items(&mut parser, b"\n\r").len(), 1, "must not wait for a line feed");
    assert_eq!(
        items(&mut parser, b"\ndata:b\r\n").len(),
        0,
        "that line feed belonged to the ending"
    );
    assert_eq!(items(&mut parser, b"\r").len(), 1);
}

#[test]
fn restart_forgets_the_stream_but_not_the_last_event_id() {
    let mut parser =
        Parser::with_config(ParserConfig::default().with_id_without_data(IdWithoutData::Defer));
    let _ = items(&mut parser, b"id:1\ndata:a\n\nid:2\n\nid:3\nevent:lost\ndata:lost\r");
    assert!(!parser.is_between_blocks());
    parser.restart();
    assert!(parser.is_between_blocks());
    assert_eq!(parser.last_event_id(), "1");
    let seen = blocks(&mut parser, "\u{feff}data:b\n\n");
    assert_eq!(seen[0].data.as_deref(), Some("b"));
    assert_eq!((seen[0].event.as_deref(), &*seen[0].last_event_id), (None, "1"));

    // A line feed is a line of its own in the new stream, so that what follows is no byte order mark.
    let _ = items(&mut parser, b"data:c\r");
    parser.restart();
    assert_eq!(blocks(&mut parser, "\n\u{feff}data:d\n\n"), []);
}

#[test]
fn between_blocks_means_that_nothing_is_pending() {
    let mut parser = Parser::new();
    for (chunk, between) in [
        ("", true),
        ("d", false),
        ("ata:a\n", false),
        ("\n", true),
        (": comment\n", true),
        (": half", false),
        ("\n", true),
        ("id:\n", false),
        ("\n", true),
        ("event:\n", false),
    ] {
        let _ = items(&mut parser, chunk.as_bytes());
        assert_eq!(parser.is_between_blocks(), between, "after {chunk:?}");
    }
}

#[test]
fn a_parser_reads_a_buffer_item_by_item() {
    let mut parser = Parser::new();
    let mut input = bytes::Bytes::from_static(b": a\ndata:b\n\nrest");
    let item = parser.next_item(&mut input).unwrap();
    assert_eq!(item, Some(Item::Comment("a".to_owned())));
    assert_eq!(input, "data:b\n\nrest", "only what was needed is read");
    assert!(matches!(parser.next_item(&mut input), Ok(Some(Item::Block(_)))));
    assert_eq!(parser.next_item(&mut input), Ok(None));
    assert!(input.is_empty());

    let mut chained = (&b"data:"[..]).chain(&b"c\n\n"[..]);
    let mut parser = Parser::new();
    assert!(matches!(parser.next_item(&mut chained), Ok(Some(Item::Block(_)))));
}

mod limit {
    use super::*;

    fn parser(limit: usize) -> Parser {
        Parser::with_config(ParserConfig::default().with_max_event_bytes(limit))
    }

    #[track_caller]
    fn check(limit: usize, input: &str, fits: bool) {
        for chunk in [input.len(), 1] {
            let mut parser = parser(limit);
            let result: Result<Vec<_>, _> = input
                .as_bytes()
                .chunks(chunk)
                .flat_map(|c| parser.push(c).collect::<Vec<_>>())
                .collect();
            assert_eq!(result.is_ok(), fits, "{input:?} in chunks of {chunk}: {result:?}");
        }
    }

    #[test]
    fn it_counts_a_line_and_the_fields_before_it() {
        check(8, "data:123\n\n", true);
        check(8, "data:1234\n\n", false);
        check(8, "data:1234", false);
        check(8, "unknown8\n", true);
        check(8, "unknown-9\n", false);
        check(10, "id:12345\ndata:\n\n", true);
        check(10, "id:123456\ndata:\n\n", false);
        check(10, "event:1234\ndata:1\n\n", true);
        check(10, "event:1234\ndata:12\n\n", false);
        check(10, "data:12345\ndata:\n\n", true);
        check(10, "data:12345\ndata:1\n\n", false);
    }

    #[test]
    fn it_starts_anew_with_each_block_and_each_comment() {
        check(10, &"data:12345\n\n".repeat(9), true);
        check(10, &": 12345678\n".repeat(9), true);
    }

    #[test]
    fn empty_data_lines_cannot_grow_a_block_without_end() {
        check(100, &"data\n".repeat(200), false);
    }

    #[test]
    fn items_before_the_error_are_kept_and_it_lasts_until_a_restart() {
        let mut parser = parser(10);
        let error = ParseError::TooLarge { limit: 10 };
        let mut items = parser.push(b"id:7\ndata:ok\n\ndata:too long\n\ndata:b\n\n");
        assert!(matches!(items.next(), Some(Ok(Item::Block(_)))));
        assert_eq!(items.next(), Some(Err(error.clone())));
        assert_eq!(items.next(), None);
        assert_eq!(parser.push(b"data:c\n\n").collect::<Vec<_>>(), [Err(error.clone())]);
        assert_eq!(error.to_string(), "event of more than 10 bytes");

        parser.restart();
        assert_eq!(parser.last_event_id(), "7");
        assert!(matches!(parser.push(b"data:d\n\n").next(), Some(Ok(Item::Block(_)))));
    }

    #[test]
    fn the_default_lets_sixteen_mebibytes_pass() {
        let mut parser = Parser::new();
        let line = vec![b'x'; 16 * 1024 * 1024];
        assert_eq!(parser.push(&line).next(), None);
        assert!(matches!(parser.push(b"x").next(), Some(Err(ParseError::TooLarge { .. }))));
    }
}
