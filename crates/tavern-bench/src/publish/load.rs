//! Publishers that publish and wait, publish and wait.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tavern_backend::{Bus, MessageEnvelope, Payload, Published, Tasks, Topic};
use tavern_broker::{Broker, Outcome};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::store::Store;
use super::{PAYLOAD, TOPICS};
use crate::figure::number;
use crate::run::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    Broker,
    Bus,
}

impl fmt::Display for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broker => "broker",
            Self::Bus => "bus",
        })
    }
}

#[derive(Debug)]
pub(super) struct Load {
    publishers: usize,
    to: To,
    topics: Arc<[Topic]>,
}

#[derive(Debug, Clone)]
enum To {
    Broker(Broker),
    Bus(Bus),
}

/// What was published, and how fast.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) published: f64,
    pub(super) rate: f64,
}

impl Load {
    pub(super) fn new(store: &Store, through: Through, publishers: usize) -> Result<Self> {
        let bus = store.bus.clone();
        let to = match through {
            Through::Broker => To::Broker(Broker::builder().bus(bus).build()?),
            Through::Bus => To::Bus(bus),
        };
        let topics: Result<Vec<_>, _> =
            (0..TOPICS).map(|n| Topic::new(format!("topic/{n}"))).collect();
        Ok(Self { publishers, to, topics: topics?.into() })
    }

    /// Publishes for `time`.
    pub(super) async fn run(&self, time: Duration) -> Result<Ran> {
        let tasks = Tasks::new();
        let published = Arc::new(AtomicUsize::new(0));
        let (failed, mut failures) = mpsc::channel(1);
        let start = Instant::now();
        for first in 0..self.publishers {
            let (to, topics) = (self.to.clone(), Arc::clone(&self.topics));
            let (published, failed) = (Arc::clone(&published), failed.clone());
            tasks.spawn(async move {
                match publish(&to, &topics, first, start + time).await {
                    Ok(n) => drop(published.fetch_add(n, Relaxed)),
                    // One failure is enough to say.
                    Err(error) => drop(failed.try_send(error)),
                }
            });
        }
        drop(failed);
        // All are done, or one has failed.
        if let Some(error) = failures.recv().await {
            return Err(error);
        }
        let took = start.elapsed();
        tasks.close().await;
        let published = number(published.load(Relaxed));
        Ok(Ran { published, rate: published / took.as_secs_f64() })
    }

    pub(super) async fn close(&self) -> Result<()> {
        match &self.to {
            To::Broker(broker) => broker.close().await,
            To::Bus(bus) => bus.close().await?,
        }
        Ok(())
    }
}

async fn publish(to: &To, topics: &[Topic], first: usize, until: Instant) -> Result<usize> {
    let payload = Payload::from("x".repeat(PAYLOAD));
    let mut published = 0;
    for topic in topics.iter().cycle().skip(first) {
        if published % 8 == 0 && Instant::now() >= until {
            break;
        }
        let envelope = MessageEnvelope::new(topic.clone(), payload.clone());
        match to {
            To::Broker(broker) => match broker.publish_envelope(envelope).await? {
                Outcome::Stored(_) => {}
                other => return Err(format!("stored was expected, not {other:?}").into()),
            },
            To::Bus(bus) => match bus.publish(envelope).await? {
                Published::Stored(_) => {}
                other => return Err(format!("stored was expected, not {other:?}").into()),
            },
        }
        published += 1;
    }
    Ok(published)
}
