//! From the feed to every subscriber, beside `tokio::sync::broadcast`.
//!
//! Both sides have one task for each subscriber, and both send a batch, wait until everybody has
//! all of it, and send the next: what is in flight is the batch.

mod broadcast;
mod crowd;
mod ring;

use std::sync::Arc;

use crate::figure::{Figure, number};
use crate::pairs::{Pairs, alternate};
use crate::plan::Plan;
use crate::report::{Section, Target};
use crate::run::Result;
use broadcast::Broadcast;
use ring::{How, Ring};

/// Bytes of data in a message.
const PAYLOAD: usize = 256;
const BATCHES: [usize; 2] = [1, 100];

/// Measures all sizes, one message at a time and in batches.
pub(crate) async fn measure(plan: &Plan) -> Result<(Section, Vec<Target>)> {
    let columns = ["in flight", "deliveries", "broadcast", "ratio"];
    let title = "Fan-out, 256 B, a task for each subscriber: beside `tokio::sync::broadcast`";
    let mut section = Section::new(title, &columns);
    let mut targets = Vec::new();
    for batch in BATCHES {
        for &subscribers in &plan.crowds {
            for how in [How::Many, How::Shared] {
                let name = format!("{subscribers} subscribers, {how}");
                if !name.contains(&plan.rows) {
                    continue;
                }
                let Pairs { ours, theirs, ratio } = compare(plan, how, subscribers, batch).await?;
                let in_flight = Figure::Count(number(batch));
                let (ours, theirs) = (Figure::Rate(ours), Figure::Rate(theirs));
                section.row(name, [in_flight, ours, theirs, Figure::Ratio(ratio)]);
                if (subscribers, batch, how) == (1_000, 100, How::Shared) {
                    targets.push(Target {
                        what: "fan-out to 1,000 in batches of 100, recv_shared to `broadcast`",
                        wanted: Figure::Ratio(3.0),
                        reached: Figure::Ratio(ratio),
                    });
                }
            }
        }
    }
    Ok((section, targets))
}

async fn compare(plan: &Plan, how: How, subscribers: usize, batch: usize) -> Result<Pairs> {
    let rounds = (plan.deliveries / (subscribers * batch)).clamp(2, (plan.messages / batch).max(2));
    let ring = Arc::new(Ring::open(how, subscribers, batch).await?);
    let broadcast = Arc::new(Broadcast::open(subscribers, batch));
    // Both warm up.
    ring.run(1).await?;
    broadcast.run(1).await?;
    let ours = || {
        let ring = Arc::clone(&ring);
        async move { ring.run(rounds).await }
    };
    let theirs = || {
        let broadcast = Arc::clone(&broadcast);
        async move { broadcast.run(rounds).await }
    };
    let pairs = alternate(plan.pairs, ours, theirs).await?;
    ring.close().await;
    broadcast.close().await;
    Ok(pairs)
}
