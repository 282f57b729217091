//! The beginning and the end of a backend.

use tavern_backend::{Append, Error, ReadQuery};

use crate::say::{filter, id, lane, message};
use crate::wait::{eventually, within};
use crate::{Listener, Stage};

/// After `close` the feed ends, every call says `Closed`, and closing again is fine.
pub async fn closed_is_closed(stage: Stage) {
    let node = stage.node().await;
    let mut listener = Listener::new(node.bus());
    within("interest", node.bus().add_interest(&[filter("t")])).await.expect("interest");
    node.store(message("t", "x")).await;
    let bus = node.bus().clone();
    within("close", bus.close()).await.expect("closed");
    listener.until_end().await;
    let publications = vec![node.publication(message("t", "y"))];
    let answers = [
        ("publish", bus.append(Append { known: None, publications }).await.err()),
        ("subscribe", bus.add_interest(&[filter("t")]).await.err()),
        ("unsubscribe", bus.remove_interest(&[filter("t")]).await.err()),
        ("read", bus.read(ReadQuery::range(0, 1)).await.err()),
        ("find", bus.find(&lane("t", None), &id("1")).await.err()),
        ("head", bus.head().await.err()),
    ];
    for (call, answer) in answers {
        assert!(matches!(answer, Some(Error::Closed)), "{call} answers {answer:?}");
    }
    assert!(!bus.healthy() && bus.health().get().closed);
    within("close again", bus.close()).await.expect("closed");
    // Others live on.
    stage.node().await.store(message("t", "z")).await;
}

/// Closing while publishes, reads and interest are under way: each ends, none hangs.
pub async fn close_during_calls(stage: Stage) {
    for round in 0..10 {
        let node = stage.node().await;
        let mut listener = Listener::new(node.bus());
        let mut calls = tokio::task::JoinSet::new();
        for caller in 0..8 {
            let node = node.clone();
            calls.spawn(async move {
                let topic = format!("t/{caller}");
                let mut stored = 0_u32;
                loop {
                    let publication = node.publication(message(&topic, "x"));
                    let append = Append { known: None, publications: vec![publication] };
                    let published = node.bus().append(append).await.map(|_| stored += 1);
                    let interest = node.bus().add_interest(&[filter(&topic)]).await.map(|_| ());
                    let read = node.bus().read(ReadQuery::range(0, 5)).await.map(|_| ());
                    for answer in [published, interest, read] {
                        match answer {
                            Ok(()) => {}
                            Err(Error::Closed) => return stored,
                            // An append that was under way may not know.
                            Err(Error::OutcomeUnknown { .. }) => {}
                            Err(other) => panic!("closed, not {other}"),
                        }
                    }
                }
            });
        }
        let bus = node.bus().clone();
        eventually("a few publishes", || bus.stats().messages_sent >= 20 + round).await;
        within("close", bus.close()).await.expect("closed");
        within("all calls end", calls.join_all()).await;
        listener.until_end().await;
    }
}

/// A node has one reader.
pub async fn the_feed_is_taken_once(stage: Stage) {
    let node = stage.node().await;
    let _listener = Listener::new(node.bus());
    assert!(matches!(node.bus().feed(), Err(Error::FeedTaken)));
}

/// A node dropped outside of any runtime, feed and all, does not panic; others live on.
pub async fn dropped_without_a_runtime(stage: Stage) {
    let other = stage.node().await;
    for take_feed in [false, true] {
        let node = stage.node().await;
        within("interest", node.bus().add_interest(&[filter("**")])).await.expect("interest");
        node.store(message("t", "x")).await;
        let feed = take_feed.then(|| node.bus().feed().expect("the feed"));
        stage.forget(&node);
        let dropping = std::thread::spawn(move || {
            drop(feed);
            drop(node);
        });
        eventually("the drop ends", || dropping.is_finished()).await;
        assert!(dropping.join().is_ok(), "the drop does not panic");
    }
    other.store(message("t", "y")).await;
}
