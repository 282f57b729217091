//! The broker's limits and times.

use std::time::Duration;

/// As good as for ever, and no clock ends before it does.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The broker's limits and times. Every queue, ring and cache has its bound here.
///
/// A time longer than a year counts as a year; a probe interval below a millisecond as one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// Bytes of the ring: frames, lane indexes and their overhead. Oldest out first. 256 MiB.
    pub ring_bytes: usize,
    /// Bytes of history pages kept for sharing. 32 MiB.
    pub page_cache_bytes: usize,
    /// How long interest outlives its last subscriber. 30 s.
    pub linger: Duration,
    /// The log's head is compared with what the feed brought twice in this time. A link that is up
    /// and brings nothing, or a log that does not answer, is found within two of them. 1 s.
    pub probe_interval: Duration,
    /// Whether a small message on a hidden topic is published where nothing else is, by one of the
    /// nodes that have subscribers, so that a link that is up and deaf is found all the same. Only
    /// where the backend [pushes](tavern_backend::BackendInfo::pushes). Yes.
    pub canary: bool,
    /// How long a missing entry may be late before it is read from history. 10 ms.
    pub repair_delay: Duration,
    /// How long an unreadable hole holds its followers back while the link is up, before it becomes
    /// a gap. 5 s.
    pub repair_patience: Duration,
    /// Entries kept above a hole; what comes beyond is read from history later. 65,536.
    pub pending_entries: usize,
    /// The most messages of a replay; the oldest are left out. No limit.
    pub max_replay: Option<usize>,
    /// Publications waiting for the backend before `publish` waits too. 8,192.
    pub publish_queue: usize,
    /// Publications in one batch. 1,024.
    pub publish_batch: usize,
    /// How long a publish waits for the backend before it is answered with a ticket. 5 s.
    pub publish_patience: Duration,
    /// Publications in the spool. 10,000.
    pub spool_entries: usize,
    /// Bytes of data in the spool. 64 MiB.
    pub spool_bytes: usize,
    /// How long a spooled publication is tried. Must stay below the backend's de-duplication window
    /// of five minutes. 60 s.
    pub spool_age: Duration,
    /// Events that the application sent to one stream alone, waiting for its client. 64.
    pub direct_events: usize,
    /// How long `close` waits for publications on their way. 5 s.
    pub close_drain: Duration,
    /// At close, clients are told to come back after a random time up to this. 3 s.
    pub close_spread: Duration,
    /// How long a stream waits for its interest to be confirmed, and for the log to say where it
    /// ends, before it opens degraded: it carries live topics, and begins once it can. 2 s.
    pub open_patience: Duration,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            ring_bytes: 256 << 20,
            page_cache_bytes: 32 << 20,
            linger: Duration::from_secs(30),
            probe_interval: Duration::from_secs(1),
            canary: true,
            repair_delay: Duration::from_millis(10),
            repair_patience: Duration::from_secs(5),
            pending_entries: 65_536,
            max_replay: None,
            publish_queue: 8_192,
            publish_batch: 1_024,
            publish_patience: Duration::from_secs(5),
            spool_entries: 10_000,
            spool_bytes: 64 << 20,
            spool_age: Duration::from_secs(60),
            direct_events: 64,
            close_drain: Duration::from_secs(5),
            close_spread: Duration::from_secs(3),
            open_patience: Duration::from_secs(2),
        }
    }
}

impl BrokerConfig {
    /// With times that can be added to any moment.
    pub(crate) fn within_bounds(mut self) -> Self {
        for time in [
            &mut self.linger,
            &mut self.probe_interval,
            &mut self.repair_delay,
            &mut self.repair_patience,
            &mut self.publish_patience,
            &mut self.spool_age,
            &mut self.close_drain,
            &mut self.close_spread,
            &mut self.open_patience,
        ] {
            *time = (*time).min(LONGEST);
        }
        self.probe_interval = self.probe_interval.max(Duration::from_millis(1));
        self
    }
}
