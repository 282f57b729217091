//! One node of a stage.

use std::time::Duration;

use tavern_backend::{
    Append, Bus, FilterSet, Head, MessageEnvelope, Page, Position, Publication, Published,
    ReadQuery,
};
use tavern_broker::{Broker, BrokerBuilder, BrokerConfig};
use tokio::time::Instant;

use crate::Cable;
use crate::wait::within;

/// One node: a backend behind a cable.
#[derive(Debug, Clone)]
pub struct Node {
    bus: Bus,
    cable: Cable,
}

impl Node {
    pub(crate) const fn new(bus: Bus, cable: Cable) -> Self {
        Self { bus, cable }
    }

    /// The node's backend.
    #[must_use]
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The hand on its cable.
    #[must_use]
    pub const fn cable(&self) -> &Cable {
        &self.cable
    }

    /// A broker on this node whose times are short.
    ///
    /// # Panics
    ///
    /// If it cannot be built.
    #[must_use]
    #[track_caller]
    pub fn broker(&self) -> Broker {
        self.broker_with(|_| {})
    }

    /// The same with another configuration.
    ///
    /// # Panics
    ///
    /// If it cannot be built.
    #[must_use]
    #[track_caller]
    pub fn broker_with(&self, change: impl FnOnce(&mut BrokerConfig)) -> Broker {
        self.builder(change).build().expect("a broker")
    }

    /// A broker to be built on this node, with short times.
    pub fn builder(&self, change: impl FnOnce(&mut BrokerConfig)) -> BrokerBuilder {
        let mut config = quick();
        change(&mut config);
        Broker::builder().bus(self.bus.clone()).config(config)
    }

    /// A publication of this node, accepted now.
    #[must_use]
    pub fn publication(&self, envelope: MessageEnvelope) -> Publication {
        Publication { key: self.bus.next_key(), envelope, accepted: Instant::now() }
    }

    /// Appends a batch.
    ///
    /// # Panics
    ///
    /// If the backend fails, or answers for another number of publications.
    #[track_caller]
    pub fn append(
        &self,
        publications: Vec<Publication>,
    ) -> impl Future<Output = Vec<Published>> + use<> {
        let bus = self.bus.clone();
        within("a batch is published", async move {
            let n = publications.len();
            let published = bus.append(Append { known: None, publications }).await;
            let published = published.expect("a healthy backend publishes");
            assert_eq!(published.len(), n, "one answer for each publication");
            published
        })
    }

    /// Publishes a message that must be stored, and says where.
    ///
    /// # Panics
    ///
    /// If it is not stored.
    #[track_caller]
    pub fn store(&self, envelope: MessageEnvelope) -> impl Future<Output = Position> + use<> {
        let append = self.append(vec![self.publication(envelope)]);
        let at = std::panic::Location::caller();
        async move {
            match append.await.as_slice() {
                [Published::Stored(position)] => *position,
                other => panic!("{at}: the message is stored, not {other:?}"),
            }
        }
    }

    /// Asks for the head.
    ///
    /// # Panics
    ///
    /// If the backend fails.
    #[track_caller]
    pub fn head(&self) -> impl Future<Output = Head> + use<> {
        let bus = self.bus.clone();
        within("the head is asked", async move { bus.head().await.expect("a head") })
    }

    /// Reads the whole log, page by page, as far as it goes.
    ///
    /// # Panics
    ///
    /// If the backend fails, or a page does not advance.
    #[track_caller]
    pub fn read_all(&self) -> impl Future<Output = Vec<Page>> + use<> {
        self.read_after(0, None)
    }

    /// Reads all that is kept above `after`, page by page.
    ///
    /// # Panics
    ///
    /// If the backend fails, or a page does not advance.
    #[track_caller]
    pub fn read_after(
        &self,
        after: u64,
        filters: Option<FilterSet>,
    ) -> impl Future<Output = Vec<Page>> + use<> {
        let (bus, filters) = (self.bus.clone(), filters.map(std::sync::Arc::new));
        within("the log is read", async move {
            let (mut after, mut pages) = (after, Vec::new());
            loop {
                let query = ReadQuery { filters: filters.clone(), after, to: u64::MAX, limit: 500 };
                let page = bus.read(query).await.expect("a page");
                assert_eq!(page.after, after, "a page begins where it was asked to");
                assert!(page.to <= page.head, "a page ends at the head");
                let (to, head) = (page.to, page.head);
                pages.push(page);
                if to >= head {
                    return pages;
                }
                assert!(to > after, "a page advances");
                after = to;
            }
        })
    }

    /// The data of all entries that the log keeps, in order, without those of Tavern itself.
    ///
    /// # Panics
    ///
    /// If the backend fails.
    #[track_caller]
    pub fn texts(&self) -> impl Future<Output = Vec<String>> + use<> {
        let reading = self.read_all();
        async {
            let pages = reading.await;
            let entries = pages.iter().flat_map(|page| &page.entries);
            let theirs = entries.map(|e| e.envelope()).filter(|e| !e.topic.is_reserved());
            theirs.map(|envelope| envelope.data.as_str().to_owned()).collect()
        }
    }

    /// Waits until the log's clock has passed this node's last entry by `age`.
    ///
    /// # Panics
    ///
    /// If it does not, in time.
    #[track_caller]
    pub fn log_time_passes(&self, age: Duration) -> impl Future<Output = ()> + use<> {
        let bus = self.bus.clone();
        within("the log's clock goes on", async move {
            let until = bus.head().await.expect("a head").now.after(age);
            while bus.head().await.expect("a head").now <= until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    }
}

/// The broker's times, as short as a busy machine allows: a case waits for several of them.
fn quick() -> BrokerConfig {
    let mut config = BrokerConfig::default();
    config.linger = Duration::from_millis(300);
    config.probe_interval = Duration::from_millis(100);
    // Cases count entries.
    config.canary = false;
    config.repair_delay = Duration::from_millis(5);
    config.repair_patience = Duration::from_secs(2);
    config.publish_patience = Duration::from_millis(500);
    config.close_drain = Duration::from_secs(2);
    config.close_spread = Duration::from_millis(100);
    config
}
