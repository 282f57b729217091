use proptest::prelude::*;

use super::{Cursor, Epoch, LastEventId, Position};
use crate::{Lane, NodeId, Topic};

fn cursor(epoch: u64, seq: u64) -> Cursor {
    Cursor(Position::new(Epoch::from_u64(epoch), seq))
}

#[test]
fn golden_cursors() {
    for (epoch, seq, text) in [
        (0, 0, "10000000000000-0"),
        (7, 42, "10000000000007-42"),
        (32, 1, "10000000000010-1"),
        (0x0123_4567_89ab_cdef, 105, "1028t5cy4tqkff-105"),
        (u64::MAX, u64::MAX, "1fzzzzzzzzzzzz-18446744073709551615"),
    ] {
        assert_eq!(cursor(epoch, seq).to_string(), text);
        assert_eq!(text.parse(), Ok(cursor(epoch, seq)), "{text}");
        assert_eq!(format!("{:?}", cursor(epoch, seq)), text);
    }
}

#[test]
fn a_cursor_has_one_text_only() {
    for text in [
        "",
        "1",
        "1-",
        "10000000000007",
        "10000000000007-",
        "10000000000007-042",
        "10000000000007-00",
        "10000000000007-+42",
        "10000000000007--42",
        "10000000000007-42 ",
        " 10000000000007-42",
        "10000000000007-4\u{665}",
        "10000000000007-18446744073709551616",
        "1000000000007-42",
        "100000000000007-42",
        "1000000000000A-42",
        "1000000000000i-42",
        "1000000000000l-42",
        "1000000000000o-42",
        "1000000000000u-42",
        "1g000000000000-42",
        "1zzzzzzzzzzzzz-42",
        "20000000000007-42",
        "00000000000007-42",
        "0000000000007-42",
        "2f-105",
    ] {
        assert!(text.parse::<Cursor>().is_err(), "{text:?}");
    }
}

#[test]
fn errors_say_what_is_expected() {
    let error = |text: &str| text.parse::<Cursor>().unwrap_err().to_string();
    assert_eq!(error("2x"), "invalid cursor: it does not begin with a version this node knows");
    assert_eq!(error("1x"), "invalid position: `<epoch>-<seq>` is expected");
    assert!(error("1x-1").starts_with("invalid epoch: 13 digits"));
}

#[test]
fn only_a_cursor_in_front_counts() {
    let at = LastEventId::Cursor(cursor(7, 42));
    for text in ["10000000000007-42", "10000000000007-42~", "10000000000007-42~evt-1~x\u{e9}"] {
        assert_eq!(LastEventId::parse(text), Some(at.clone()), "{text}");
    }
    assert_eq!(at, cursor(7, 42).into());
    assert_eq!(LastEventId::parse(""), None);
}

#[test]
fn a_publishers_id_is_not_taken_for_a_cursor() {
    for text in ["1", "2f-105", "evt~10000000000007-42", "~10000000000007-42", "10000000000007-042"]
    {
        match LastEventId::parse(text) {
            Some(LastEventId::Publisher(id)) => assert_eq!(id.as_str(), text),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn raw_bytes_are_read_as_they_are() {
    for bytes in [&b"\xff"[..], b"a\nb", b"10000000000007-42\xff", &[b'x'; 256]] {
        assert_eq!(LastEventId::parse(bytes), Some(LastEventId::Unusable(bytes.to_vec())));
    }
    let text = "h\u{e9}llo";
    assert_eq!(LastEventId::parse(text.as_bytes()).unwrap().to_string(), text);
    assert_eq!(LastEventId::parse(b"\xff").unwrap().to_string(), "\u{fffd}");
}

#[test]
fn random_epochs_and_nodes_differ() {
    assert_ne!(Epoch::random().unwrap(), Epoch::random().unwrap());
    assert_ne!(NodeId::random().unwrap(), NodeId::random().unwrap());
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(epoch: u64, seq: u64) {
        let text = cursor(epoch, seq).to_string();
        prop_assert_eq!(text.parse(), Ok(cursor(epoch, seq)));
        let node = NodeId::from_u64(epoch);
        prop_assert_eq!(node.to_string().parse(), Ok(node));
    }

    #[test]
    fn what_is_read_is_written_back(text in "1[0-9a-z]{13}-[0-9]{1,20}") {
        if let Ok(cursor) = text.parse::<Cursor>() {
            prop_assert_eq!(cursor.to_string(), text);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(LastEventId::parse(&bytes).is_none(), bytes.is_empty());
    }
}

#[test]
fn lanes_differ_by_topic_and_scope() {
    let lane = |topic: &str, scope: Option<&str>| Lane {
        topic: Topic::new(topic).unwrap(),
        scope: scope.map(|s| s.try_into().unwrap()),
    };
    assert_ne!(lane("t", None), lane("t", Some("s")));
    assert_eq!(lane("t", Some("s")), lane("t", Some("s")));
}
