//! A feed that nobody reads: a process that only publishes.

use tavern_backend::TopicFilter;
use tavern_testkit::engine::NatsFlavor;
use tavern_testkit::say::message;
use tavern_testkit::wait::within;

use crate::stand::{Stand, on_both, up};

on_both! { outages_do_not_end_a_node_whose_feed_nobody_reads, }

/// More outages than notices that wait anywhere, with a feed that is full.
async fn outages_do_not_end_a_node_whose_feed_nobody_reads(flavor: NatsFlavor) {
    const BATCHES: usize = 1200;
    let stand = Stand::start(flavor).await;
    let bus = stand.bus().await;
    bus.add_interest(&[TopicFilter::new("**").unwrap()]).await.unwrap();
    for n in 0..BATCHES {
        within("a publish", bus.publish(message("t", n.to_string()))).await.unwrap();
    }
    for _ in 0..12 {
        let connects = bus.health().get().connects;
        stand.kill_and_start().await;
        let mut health = bus.health();
        within("the link is another one", async {
            while health.get().connects == connects || !health.get().up {
                assert!(health.changed().await.is_some(), "the node is gone");
            }
        })
        .await;
        assert!(up(&bus).await);
        crate::stand::append(&bus, vec![publication(&bus)]).await;
    }
    bus.close().await.unwrap();
}

fn publication(bus: &tavern_backend::Bus) -> tavern_backend::Publication {
    tavern_backend::Publication {
        key: bus.next_key(),
        envelope: message("t", "again"),
        accepted: tokio::time::Instant::now(),
    }
}
