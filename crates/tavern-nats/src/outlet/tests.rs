use futures_util::FutureExt as _;
use tavern_backend::{Epoch, Feed, LiveMessage, MessageEnvelope, NodeId, Origin, Position, Topic};

use super::*;

fn push(size: usize) -> Vec<FeedEvent> {
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

/// The events of the next batch in few letters.
fn next(feed: &mut Feed) -> Option<String> {
    let batch = feed.recv().now_or_never()??;
    let words = batch.iter().map(|event| match event {
        FeedEvent::LinkLost { reason } => format!("lost {reason}"),
        FeedEvent::LinkRestored { head } => format!("back {}", head.seq),
        _ => "push".to_owned(),
    });
    Some(words.collect::<Vec<_>>().join(", "))
}

#[test]
fn notices_wait_for_room_and_are_not_overtaken() {
    let (sender, mut feed) = Feed::channel(2);
    let mut outlet = Outlet::new(sender);
    assert!(outlet.pay().now_or_never().is_none(), "nothing is owed");
    outlet.give(push(1));
    outlet.give(push(1));
    for n in 1..100 {
        outlet.notice(lost(&n.to_string()));
        outlet.notice(restored(n));
        assert!(outlet.pay().now_or_never().is_none(), "there is no room");
    }
    assert_eq!(next(&mut feed).as_deref(), Some("push"));
    outlet.give(push(1));
    outlet.pay().now_or_never().unwrap();
    assert!(outlet.pay().now_or_never().is_none(), "once");
    assert_eq!(next(&mut feed).as_deref(), Some("push"));
    assert_eq!(next(&mut feed).as_deref(), Some("lost 1, back 99"));
    outlet.give(push(1));
    assert_eq!(next(&mut feed).as_deref(), Some("push"));
    assert_eq!(next(&mut feed), None, "what would have overtaken them is dropped");
}

#[test]
fn a_loss_takes_a_return_back() {
    let (sender, mut feed) = Feed::channel(2);
    let mut outlet = Outlet::new(sender);
    outlet.notice(restored(1));
    outlet.notice(lost("x"));
    outlet.pay().now_or_never().unwrap();
    assert_eq!(next(&mut feed).as_deref(), Some("lost x"));
}

#[test]
fn what_waits_is_bounded_in_bytes() {
    const SIZE: usize = 1 << 20;
    let (sender, mut feed) = Feed::channel(1024);
    let mut outlet = Outlet::new(sender);
    for _ in 0..100 {
        outlet.give(push(SIZE));
    }
    let mut taken = 0;
    for _ in 0..10 {
        assert!(next(&mut feed).is_some());
        taken += 1;
    }
    for _ in 0..100 {
        outlet.give(push(SIZE));
    }
    while next(&mut feed).is_some() {
        taken += 1;
    }
    assert_eq!(taken, BYTES / (SIZE + AROUND) + 10);
    outlet.give(push(BYTES + 1));
    assert!(next(&mut feed).is_some(), "a batch alone always has room");
}

#[test]
fn a_feed_that_was_dropped_is_owed_nothing() {
    let (sender, feed) = Feed::channel(2);
    let mut outlet = Outlet::new(sender);
    drop(feed);
    outlet.notice(lost("x"));
    outlet.pay().now_or_never().unwrap();
    assert!(outlet.pay().now_or_never().is_none());
    outlet.give(push(1));
}
