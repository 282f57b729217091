use std::time::Duration;

use tavern_backend::{MessageEnvelope, NodeId, Origin, Topic};

use super::*;

fn record() -> Record {
    let envelope = MessageEnvelope::new(Topic::new("t").unwrap(), "data");
    let origin = Origin { node: NodeId::from_u64(7), counter: 9 };
    Record { origin, waited: Duration::from_millis(3), envelope }
}

#[test]
fn a_body_comes_back() {
    let bytes = encode(LogTime::from_millis(-5), Epoch::from_u64(77), &record());
    let body = Body::parse(bytes.clone()).unwrap();
    assert_eq!((body.appended, body.epoch), (LogTime::from_millis(-5), Epoch::from_u64(77)));
    assert_eq!(body.record().unwrap(), record());
    let position = Position::new(Epoch::from_u64(77), 4);
    let FeedEvent::Entry(entry) = event(position, None, bytes) else { panic!("an entry") };
    assert_eq!((entry.position, entry.appended), (position, LogTime::from_millis(-5)));
}

#[test]
fn what_is_no_body_of_ours_is_undecodable() {
    let whole = encode(LogTime::from_millis(1), Epoch::from_u64(2), &record());
    let mut newer = whole.to_vec();
    newer[0] = 2;
    for bytes in [Bytes::new(), whole.slice(..16), whole.slice(..20), newer.into()] {
        let position = Position::new(Epoch::from_u64(2), 1);
        let event = event(position, None, bytes.clone());
        assert!(matches!(event, FeedEvent::Undecodable { .. }), "{bytes:?}");
    }
}
