use futures_util::FutureExt as _;
use tavern_backend::{Epoch, Feed, LiveMessage, MessageEnvelope, NodeId, Origin, Position, Topic};

use super::*;

fn read(size: usize) -> Vec<FeedEvent> {
    let origin = Origin { node: NodeId::from_u64(1), counter: 1 };
    let envelope = MessageEnvelope::new(Topic::new("t").unwrap(), "x".repeat(size));
    vec![FeedEvent::Live(LiveMessage { origin, envelope })]
}

fn lost(reason: &str) -> FeedEvent {
    FeedEvent::LinkLost { reason: reason.into() }
}

fn restored(seq: u64) -> FeedEvent {
    FeedEvent::LinkRestored { head: Position::new(Epoch::from_u64(1), seq) }
}

fn pays(outlet: &mut Outlet) -> bool {
    outlet.pay().now_or_never().is_some()
}

/// The events of the next batch in few letters.
fn next(feed: &mut Feed) -> Option<String> {
    let batch = feed.recv().now_or_never()??;
    let words = batch.iter().map(|event| match event {
        FeedEvent::LinkLost { reason } => format!("lost {reason}"),
        FeedEvent::LinkRestored { head } => format!("back {}", head.seq),
        _ => "read".to_owned(),
    });
    Some(words.collect::<Vec<_>>().join(", "))
}

#[test]
fn notices_take_the_place_of_what_waits() {
    let (sender, mut feed) = Feed::channel(2);
    let mut outlet = Outlet::new(sender);
    assert!(!pays(&mut outlet), "nothing is owed");
    for _ in 0..2 {
        outlet.give(read(1));
        assert!(pays(&mut outlet));
    }
    outlet.give(read(1));
    assert!(!pays(&mut outlet), "there is no room");
    for n in 1..100 {
        outlet.notice(lost(&n.to_string()));
        outlet.notice(restored(n));
        assert!(!pays(&mut outlet), "there is no room");
    }
    assert!(!outlet.is_empty());
    assert_eq!(next(&mut feed).as_deref(), Some("read"));
    assert!(pays(&mut outlet));
    assert!(outlet.is_empty());
    assert!(!pays(&mut outlet), "once");
    assert_eq!(next(&mut feed).as_deref(), Some("read"));
    assert_eq!(next(&mut feed).as_deref(), Some("lost 1, back 99"));
    assert_eq!(next(&mut feed), None);
}

#[test]
fn a_loss_takes_a_return_back() {
    let (sender, mut feed) = Feed::channel(2);
    let mut outlet = Outlet::new(sender);
    outlet.notice(restored(1));
    outlet.notice(lost("x"));
    assert!(pays(&mut outlet));
    assert_eq!(next(&mut feed).as_deref(), Some("lost x"));
}

#[test]
fn what_nobody_takes_is_bounded_in_bytes() {
    const SIZE: usize = 1 << 20;
    let (sender, mut feed) = Feed::channel(1024);
    let mut outlet = Outlet::new(sender);
    let mut handed = 0;
    loop {
        outlet.give(read(SIZE));
        if !pays(&mut outlet) {
            break;
        }
        handed += 1;
    }
    assert_eq!(handed, BYTES / (SIZE + AROUND));
    assert!(next(&mut feed).is_some());
    assert!(pays(&mut outlet), "it has room now");
    outlet.give(read(SIZE));
    assert!(!pays(&mut outlet), "the next has not");
    while next(&mut feed).is_some() {}
    assert!(pays(&mut outlet));
    assert!(next(&mut feed).is_some());
    outlet.give(read(BYTES + 1));
    assert!(pays(&mut outlet), "a batch alone always has room");
    outlet.give(read(1));
    assert!(!pays(&mut outlet));
}

#[test]
fn a_feed_that_was_dropped_is_owed_nothing() {
    let (sender, feed) = Feed::channel(2);
    let mut outlet = Outlet::new(sender);
    drop(feed);
    outlet.notice(lost("x"));
    assert!(pays(&mut outlet));
    assert!(outlet.is_empty());
}
