//! Clients that come back all at once, each from another place in the log, to a node that has just
//! started: everything comes from history.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tavern_backend::{
    Append, Cursor, MessageEnvelope, Payload, Position, Publication, Published, Tasks, Topic,
};
use tavern_broker::{Broker, Delivery, Subscription};
use tavern_sqlite::Durability;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::figure::{Figure, number};
use crate::plan::Plan;
use crate::publish::{Kind, Store};
use crate::report::Section;
use crate::run::Result;

const TOPICS: usize = 20;
/// Messages of each topic: no more than the default rules keep, and the last page is not full.
const MESSAGES: usize = 250;
const PAYLOAD: usize = 256;

/// Measures on both backends.
pub(crate) async fn measure(plan: &Plan) -> Result<Section> {
    let log = TOPICS * MESSAGES;
    let title = format!(
        "Resuming at once on a new node, cursors spread over {log} entries, {TOPICS} topics"
    );
    let columns = ["all done in", "resumes", "replayed", "page reads", "shared reads"];
    let mut section = Section::new(title, &columns);
    for kind in [Kind::Memory, Kind::Sqlite(Durability::Normal)] {
        let log = Log::write(kind).await?;
        for &clients in &plan.resumes {
            let Resumed { took, replayed, reads, hits } = log.resume(clients).await?;
            let rate = number(clients) / took.as_secs_f64();
            section.row(
                format!("{kind}, {clients} clients"),
                [
                    Figure::Time(took),
                    Figure::Rate(rate),
                    Figure::Count(replayed),
                    Figure::Count(reads),
                    Figure::Count(hits),
                ],
            );
        }
    }
    Ok(section)
}

/// A log with something in it.
struct Log {
    store: Store,
    topics: Vec<Topic>,
    head: Position,
}

struct Resumed {
    took: Duration,
    replayed: f64,
    reads: f64,
    hits: f64,
}

impl Log {
    async fn write(kind: Kind) -> Result<Self> {
        let store = Store::open(kind).await?;
        let topics: Result<Vec<_>, _> =
            (0..TOPICS).map(|n| Topic::new(format!("topic/{n}"))).collect();
        let topics = topics?;
        let payload = Payload::from("x".repeat(PAYLOAD));
        let mut head = None;
        for _ in 0..MESSAGES {
            let publications = topics.iter().map(|topic| Publication {
                key: store.bus.next_key(),
                envelope: MessageEnvelope::new(topic.clone(), payload.clone()),
                accepted: Instant::now(),
            });
            let append = Append { known: None, publications: publications.collect() };
            if let Some(Published::Stored(position)) = store.bus.append(append).await?.last() {
                head = Some(*position);
            }
        }
        Ok(Self { store, topics, head: head.ok_or("nothing was stored")? })
    }

    /// Resumes `clients` clients and checks that each got everything.
    async fn resume(&self, clients: usize) -> Result<Resumed> {
        let broker = Broker::builder().bus(self.store.another().await?).build()?;
        wait_until_ready(&broker).await?;
        let (tasks, replayed) = (Tasks::new(), Arc::new(AtomicUsize::new(0)));
        let (failed, mut failures) = mpsc::channel(1);
        let start = Instant::now();
        for client in 0..clients {
            let (topic, seq, wanted) = self.place(client)?;
            let subscription = broker
                .subscribe([topic])
                .resume(Cursor(Position::new(self.head.epoch, seq)))
                .open()?;
            let (replayed, failed) = (Arc::clone(&replayed), failed.clone());
            tasks.spawn(async move {
                let got = replay(subscription).await;
                replayed.fetch_add(wanted, Relaxed);
                if got != Some(wanted) {
                    let error = format!("{wanted} messages were to be replayed, not {got:?}");
                    // One failure is enough to say.
                    drop(failed.try_send(error));
                }
            });
        }
        drop(failed);
        if let Some(error) = failures.recv().await {
            return Err(error.into());
        }
        let took = start.elapsed();
        let counters = broker.status().counters;
        tasks.close().await;
        broker.close().await;
        Ok(Resumed {
            took,
            replayed: number(replayed.load(Relaxed)),
            reads: number(usize::try_from(counters.page_reads)?),
            hits: number(usize::try_from(counters.page_hits)?),
        })
    }

    /// A client's topic, the seq it has, and the messages above that.
    fn place(&self, client: usize) -> Result<(Topic, u64, usize)> {
        let topic = client % TOPICS;
        let log = TOPICS * MESSAGES;
        // A prime step visits places all over the log.
        let seq = (client * 7_919) % log;
        // The topic's messages are the seqs topic + 1, topic + 1 + TOPICS, …
        let had = (seq + TOPICS - 1 - topic) / TOPICS;
        let first = self.head.seq - u64::try_from(log)?;
        Ok((self.topics[topic].clone(), first + u64::try_from(seq)?, MESSAGES - had))
    }
}

/// Waits until the node knows the log, so that its start is no part of the measurement.
async fn wait_until_ready(broker: &Broker) -> Result<()> {
    let mut first = broker.subscribe(["bench/first"]).open()?;
    match first.recv().await {
        Some(Delivery::Cursor(_)) => Ok(()),
        other => Err(format!("a cursor was expected, not {other:?}").into()),
    }
}

/// The messages of a replay; `None` if anything is missing.
async fn replay(mut subscription: Subscription) -> Option<usize> {
    let (mut deliveries, mut messages) = (Vec::new(), 0);
    while subscription.recv_many(&mut deliveries, 128).await > 0 {
        for delivery in deliveries.drain(..) {
            match delivery {
                Delivery::Message(_) => messages += 1,
                Delivery::Reconnected(reconnected) => {
                    return reconnected.complete.then_some(messages);
                }
                _ => return None,
            }
        }
    }
    None
}
