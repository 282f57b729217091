//! Our side: a broker over a feed that is filled by hand.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use tavern_backend::{Bus, FeedEvent, Payload, Tasks, Topic};
use tavern_broker::{Broker, Delivery, Subscription};
use tokio::time::Instant;

use super::PAYLOAD;
use super::crowd::{Count, Crowd};
use crate::figure::number;
use crate::run::Result;
use crate::tap::{Spout, Tap};

/// Deliveries taken at once.
const TAKE: usize = 128;

/// How a subscriber receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Deliveries of its own.
    Many,
    /// In one piece with the others.
    Shared,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Many => "recv_many",
            Self::Shared => "recv_shared",
        })
    }
}

#[derive(Debug)]
pub(super) struct Ring {
    broker: Broker,
    spout: Spout,
    crowd: Arc<Crowd>,
    tasks: Tasks,
    subscribers: usize,
    batch: usize,
}

impl Ring {
    /// A node with subscribers that all follow one topic, open and waiting.
    pub(super) async fn open(how: How, subscribers: usize, batch: usize) -> Result<Self> {
        let (tap, spout) = Tap::new();
        let broker = Broker::builder().bus(Bus::new(tap)).build()?;
        let crowd = Arc::new(Crowd::new(subscribers));
        let tasks = Tasks::new();
        for _ in 0..subscribers {
            let subscription = broker.subscribe(["news"]).open()?;
            let (count, crowd) = (Count::of(batch), Arc::clone(&crowd));
            match how {
                How::Many => tasks.spawn(receive_many(subscription, count, crowd)),
                How::Shared => tasks.spawn(receive_shared(subscription, count, crowd)),
            }
        }
        crowd.all().await;
        Ok(Self { broker, spout, crowd, tasks, subscribers, batch })
    }

    /// Deliveries a second.
    pub(super) async fn run(&self, rounds: usize) -> Result<f64> {
        let topic = Topic::new("news")?;
        let payload = Payload::from("x".repeat(PAYLOAD));
        let batches: Vec<Vec<FeedEvent>> = (0..rounds)
            .map(|_| (0..self.batch).map(|_| self.spout.make(&topic, &payload)).collect())
            .collect();
        let start = Instant::now();
        for batch in batches {
            self.spout.send(batch).await?;
            self.crowd.all().await;
        }
        let took = start.elapsed();
        Ok(number(rounds * self.batch * self.subscribers) / took.as_secs_f64())
    }

    pub(super) async fn close(&self) {
        self.broker.close().await;
        self.tasks.close().await;
    }
}

async fn receive_many(mut subscription: Subscription, mut count: Count, crowd: Arc<Crowd>) {
    let mut deliveries = Vec::with_capacity(TAKE);
    while subscription.recv_many(&mut deliveries, TAKE).await > 0 {
        take(&deliveries, &mut count, &crowd);
        deliveries.clear();
    }
}

async fn receive_shared(mut subscription: Subscription, mut count: Count, crowd: Arc<Crowd>) {
    loop {
        let deliveries = subscription.recv_shared(TAKE).await;
        if deliveries.is_empty() {
            return;
        }
        take(&deliveries, &mut count, &crowd);
    }
}

/// Looks at every frame, as who writes it would.
fn take(deliveries: &[Delivery], count: &mut Count, crowd: &Crowd) {
    let mut messages = 0;
    for delivery in deliveries {
        match delivery {
            Delivery::Message(message) => {
                black_box(message.encoded().len());
                messages += 1;
            }
            // The stream is open.
            Delivery::Cursor(_) => crowd.finish(),
            _ => {}
        }
    }
    if messages > 0 {
        count.add(messages, crowd);
    }
}
