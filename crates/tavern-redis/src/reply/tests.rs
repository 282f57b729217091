use redis::Value;
use tavern_backend::Epoch;

use super::{Reply, entry_id, forks};

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn reply(values: Vec<Value>) -> Reply {
    Reply::new(Value::Array(values)).unwrap()
}

#[test]
fn an_answer_is_taken_apart_in_order() {
    let epoch = Epoch::from_u64(77);
    let mut reply = reply(vec![
        text("ok"),
        Value::SimpleString("simple".into()),
        Value::Int(3),
        text("18014398509481984"),
        Value::Double(9_007_199_254_740_992.0),
        Value::Nil,
        text(&epoch.to_string()),
        Value::Array(vec![Value::Int(1)]),
    ]);
    assert_eq!(reply.text().unwrap(), "ok");
    assert_eq!(reply.bytes().unwrap(), "simple");
    assert_eq!(reply.number().unwrap(), 3);
    assert_eq!(reply.number().unwrap(), 1 << 54);
    assert_eq!(reply.number().unwrap(), 1 << 53);
    reply.skip();
    assert_eq!(reply.epoch().unwrap(), epoch);
    assert_eq!(reply.left(), 1);
    assert_eq!(reply.list().unwrap().number().unwrap(), 1);
    assert_eq!(reply.left(), 0);
}

/// Somebody else's answer is a failure that does not pass by itself, never a panic.
#[test]
fn what_is_missing_or_of_another_kind_is_refused() {
    for value in [Value::Nil, Value::Okay, Value::Int(1), text("x")] {
        assert!(Reply::new(value).unwrap_err().lasting);
    }
    for mut empty in [reply(vec![]), reply(vec![Value::Nil])] {
        assert!(empty.bytes().is_err());
        assert!(empty.number().is_err());
        assert!(empty.list().is_err());
        empty.skip();
    }
    for bad in [Value::Int(-1), text("-1"), text("1.5"), text(""), Value::Double(-2.0)] {
        assert!(reply(vec![bad.clone()]).number().is_err(), "{bad:?}");
    }
    assert!(reply(vec![Value::Double(f64::NAN)]).number().is_err());
    assert!(reply(vec![Value::Double(f64::INFINITY)]).number().is_err());
    assert!(reply(vec![Value::BulkString(vec![0xff])]).text().is_err());
    assert!(reply(vec![text("not an epoch")]).epoch().is_err());
}

#[test]
fn the_id_of_an_entry_is_its_seq_and_its_time() {
    assert_eq!(entry_id(b"17-1700000000000").unwrap(), (17, 1_700_000_000_000));
    for bad in [
        "",
        "17",
        "-1",
        "17-",
        "a-1",
        "1-2-3",
        "0-1",
        "9007199254740993-1",
        "18446744073709551616-1",
    ] {
        assert!(entry_id(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(entry_id(&[0xff, b'-', b'1']).is_err());
}

#[test]
fn forks_are_read_newest_first() {
    let (a, b) = (Epoch::from_u64(1), Epoch::from_u64(2));
    let read = forks(&format!("{b}:20:25;{a}:10:10;")).unwrap();
    let read: Vec<_> = read.iter().map(|fork| (fork.parent, fork.at, fork.lost_through)).collect();
    assert_eq!(read, [(b, 20, 25), (a, 10, 10)]);
    assert!(forks("").unwrap().is_empty());
    for bad in [";", "x:1:2;", &format!("{a}:1;"), &format!("{a}:1:x;"), &format!("{a}::2;")] {
        assert!(forks(bad).is_err(), "{bad}");
    }
}
