//! Pushes that do not come from the server.

use tavern_backend::{FeedEvent, TopicFilter};
use tavern_testkit::engine::NatsFlavor;
use tavern_testkit::say::message;
use tavern_testkit::wait::within;

use crate::stand::{Stand, on_both, store};

on_both! { a_seq_that_no_log_reaches_changes_nothing, }

/// Whoever may publish on the feed's subjects can disturb a node, but not make it believe that the
/// log lost its end, for ever.
async fn a_seq_that_no_log_reaches_changes_nothing(flavor: NatsFlavor) {
    let stand = Stand::start(flavor).await;
    let bus = stand.bus().await;
    bus.add_interest(&[TopicFilter::new("t").unwrap()]).await.unwrap();
    let mut feed = bus.feed().unwrap();
    assert_eq!(store(&bus, message("t", "1")).await, 1);
    let before = bus.head().await.unwrap().position;
    let mut conn = stand.server.connect().await.unwrap();
    for topic in ["t", "other"] {
        let subject = stand.subject(topic).await.replacen(".log.", ".feed.log.", 1);
        for seq in ["18446744073709551614", "18446744073709551615", "18446744073709551615"] {
            let headers = [("Nats-Sequence", seq)];
            conn.publish_with(&subject, None, &headers, b"x").await.unwrap();
        }
    }
    conn.flush().await.unwrap();
    assert_eq!(store(&bus, message("t", "2")).await, 2);
    // What was pushed before it has been taken.
    let mut seqs = Vec::new();
    within("the entry", async {
        while seqs.last() != Some(&2) {
            for event in feed.recv().await.unwrap() {
                match event {
                    FeedEvent::Entry(entry) => seqs.push(entry.position.seq),
                    FeedEvent::LinkRestored { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    })
    .await;
    assert_eq!(seqs, [1, 2]);
    assert_eq!(store(&bus, message("t", "3")).await, 3);
    let after = bus.head().await.unwrap().position;
    assert_eq!((after.epoch, after.seq), (before.epoch, 3));
    assert_eq!(bus.health().get().connects, 1);
    bus.close().await.unwrap();
}
