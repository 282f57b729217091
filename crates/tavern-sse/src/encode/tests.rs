use super::*;

fn value(text: &str) -> Option<FieldValue<'_>> {
    Some(FieldValue::new(text).unwrap())
}

fn data(text: &str) -> Frame<'_> {
    Frame { data: Some(text), ..Frame::default() }
}

#[track_caller]
fn check(frame: &Frame<'_>, expected: &str) {
    let encoded = frame.encode();
    assert_eq!(str::from_utf8(&encoded.bytes).unwrap(), expected);
    assert_eq!(frame.encoded_len(), expected.len(), "encoded_len must be exact");
}

#[test]
fn fields_come_in_a_fixed_order() {
    let frame = Frame {
        id: value("1-2a"),
        event: value("order"),
        data: Some("hello"),
        retry: Some(Duration::from_millis(1500)),
    };
    check(&frame, "retry: 1500\nid: 1-2a\nevent: order\ndata: hello\n\n");
}

#[test]
fn absent_fields_leave_no_line_and_empty_ones_do() {
    check(&Frame::default(), "\n");
    check(&Frame { id: value("7"), ..Frame::default() }, "id: 7\n\n");
    check(&Frame { id: value(""), event: value(""), ..data("") }, "id: \nevent: \ndata: \n\n");
}

#[test]
fn data_breaks_at_every_kind_of_line_ending() {
    check(&data("a\nb"), "data: a\ndata: b\n\n");
    check(&data("a\r\nb"), "data: a\ndata: b\n\n");
    check(&data("a\rb"), "data: a\ndata: b\n\n");
    check(&data("a\n\rb"), "data: a\ndata: \ndata: b\n\n");
    check(&data("a\n"), "data: a\ndata: \n\n");
    check(&data("\r\r\n\n"), "data: \ndata: \ndata: \ndata: \n\n");
}

#[test]
fn what_looks_like_a_field_or_a_separator_stays_data() {
    check(&data(" leading"), "data:  leading\n\n");
    check(&data("a\n\nid: evil"), "data: a\ndata: \ndata: id: evil\n\n");
    check(&data("\u{feff}:\0\u{2028}"), "data: \u{feff}:\0\u{2028}\n\n");
}

#[test]
fn retry_is_in_whole_milliseconds() {
    assert_eq!(retry(Duration::ZERO), "retry: 0\n\n");
    assert_eq!(retry(Duration::from_micros(9_999)), "retry: 9\n\n");
    assert_eq!(retry(Duration::from_secs(10)), "retry: 10000\n\n");
    assert_eq!(retry(Duration::MAX), format!("retry: {}\n\n", u64::MAX));
    for millis in [0, 9, 10, 99, 100, u64::MAX] {
        let frame = Frame { retry: Some(Duration::from_millis(millis)), ..Frame::default() };
        check(&frame, &format!("retry: {millis}\n\n"));
    }
}

#[test]
fn comments_cannot_break_out_of_their_line() {
    assert_eq!(comment("ping"), ": ping\n\n");
    assert_eq!(comment(""), ": \n\n");
    assert_eq!(comment("a\r\ndata: b\rc\n"), ": a\n: data: b\n: c\n: \n\n");
}

#[test]
fn a_single_line_payload_is_found_without_a_copy() {
    let encoded = Frame { id: value("1"), event: value("e"), ..data("päy") }.encode();
    let payload = encoded.payload().unwrap();
    assert_eq!(payload, "päy");
    let start = encoded.data.clone().unwrap().start;
    assert_eq!(payload.as_ptr(), encoded.bytes[start..].as_ptr(), "same memory");

    assert_eq!(data("").encode().payload().unwrap(), "");
    assert_eq!(data("a\nb").encode().data, None);
    assert_eq!(data("a\r").encode().data, None);
    assert_eq!(Frame::default().encode().data, None);
}

#[test]
fn frames_append_to_a_buffer_and_ranges_count_from_its_start() {
    let mut buf = BytesMut::from("id: 0\n\n");
    let place = data("tail").encode_into(&mut buf).unwrap();
    assert_eq!(&buf[place], b"tail");
    assert_eq!(&buf[..], b"id: 0\n\ndata: tail\n\n");
}

#[test]
fn a_buffer_of_the_exact_size_is_not_moved() {
    let frame = Frame {
        id: value("1"),
        event: value("e"),
        data: Some("a\r\nb\rc\n"),
        retry: Some(Duration::from_millis(100)),
    };
    let mut buf = BytesMut::with_capacity(frame.encoded_len());
    let before = buf.as_ptr();
    let _ = frame.encode_into(&mut buf);
    assert_eq!((buf.as_ptr(), buf.capacity()), (before, frame.encoded_len()));
}
