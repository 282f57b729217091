//! What the broker says of itself.

use serde::Serialize;
use tavern_backend::BackendStats;

/// The state of a node, for `/status`.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// This node.
    pub node: String,
    /// The namespace it serves.
    pub namespace: String,
    /// The log's epoch, once known.
    pub epoch: Option<String>,
    /// The log's head as last asked, once known.
    pub head: Option<u64>,
    /// Up to here everything has reached this node.
    pub watermark: Option<u64>,
    /// How many entries the log had beyond that when it was asked last.
    pub lag: u64,
    /// The backend.
    pub backend: BackendStatus,
    /// Topics with interest on this node, lingering ones included.
    pub topics: usize,
    /// Open subscriptions.
    pub subscribers: usize,
    /// What was counted since the start.
    pub counters: Counters,
}

/// The state of the backend.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct BackendStatus {
    /// Its scheme.
    pub name: &'static str,
    /// Where it is, without secrets.
    pub location: String,
    /// What `stored` means here.
    pub durability: &'static str,
    /// What went through it.
    #[serde(flatten)]
    pub stats: BackendStats,
    /// For how many milliseconds it is up or down.
    pub since_ms: u64,
    /// How often the link came up.
    pub connects: u64,
    /// Whether what is published anywhere is believed to arrive here: the link is up, the log
    /// answers, and the feed brings what it has.
    pub delivers: bool,
    /// Why it is down, or does not deliver.
    pub reason: Option<String>,
}

/// Counts since the start of the node.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Publications stored.
    pub published_stored: u64,
    /// Publications the log had before.
    pub published_duplicate: u64,
    /// Publications to live topics.
    pub published_live: u64,
    /// Live publications that other nodes could not be sent.
    pub live_unsent: u64,
    /// Publications refused.
    pub published_rejected: u64,
    /// Publications that went to the spool.
    pub spooled: u64,
    /// Spooled publications that were given up.
    pub spool_discarded: u64,
    /// Publications in the spool now.
    pub spool_entries: u64,
    /// Entries that arrived in order.
    pub entries: u64,
    /// Pushes that had arrived before.
    pub duplicate_pushes: u64,
    /// Pushes left out because too much was waiting above a hole.
    pub pending_overflow: u64,
    /// Holes read from history.
    pub repairs: u64,
    /// Holes that became gaps.
    pub holes_lost: u64,
    /// Pages read from history.
    pub page_reads: u64,
    /// Pages found in the cache.
    pub page_hits: u64,
    /// How often the log was asked where it ends: once for all who ask at the same time.
    pub head_reads: u64,
    /// Gap events given to subscribers.
    pub gaps: u64,
    /// Connections that resumed.
    pub resumes: u64,
    /// Subscribers that fell off the ring and went on from history.
    pub fell_off: u64,
    /// Entries that this version could not read.
    pub undecodable: u64,
    /// How often the feed was found to bring nothing although its link was up.
    pub deaf: u64,
    /// Canaries sent.
    pub canaries: u64,
    /// Bytes in the ring now.
    pub ring_bytes: u64,
    /// Frames in the ring now.
    pub ring_frames: u64,
}

/// Whether a node can deliver across processes, for `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Whether it can.
    pub ready: bool,
    /// Why it cannot, one sentence each.
    pub reasons: Vec<String>,
}
