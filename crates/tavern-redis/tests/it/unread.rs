//! A feed that nobody reads: a process that only publishes.

use tavern_backend::{Bus, TopicFilter};
use tavern_testkit::say::message;
use tavern_testkit::wait::within;

use crate::stand::Stand;

/// Sends what fills a feed of 1,024 batches, and a queue of 8,192 pushes before it.
async fn publish_many(bus: &Bus, batches: usize) {
    for n in 0..batches {
        within("a publish", bus.publish(message("t", n.to_string()))).await.unwrap();
    }
}

/// Outages with a feed that is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_do_not_end_a_node_whose_feed_nobody_reads() {
    let stand = Stand::start().await;
    let bus = stand.bus().await;
    bus.add_interest(&[TopicFilter::new("**").unwrap()]).await.unwrap();
    publish_many(&bus, 1200).await;
    for batches in [10_000, 1, 1] {
        let connects = bus.health().get().connects;
        within("the server is killed", stand.server.kill()).await.unwrap();
        within("the server starts", stand.server.start_again()).await.unwrap();
        let mut health = bus.health();
        within("the link is another one", async {
            while health.get().connects == connects || !health.get().up {
                assert!(health.changed().await.is_some(), "the node is gone");
            }
        })
        .await;
        publish_many(&bus, batches).await;
    }
    bus.close().await.unwrap();
}
