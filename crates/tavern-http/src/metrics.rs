//! Counters: the node's own, the backend's, and those of HTTP, as OpenMetrics text.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tavern_broker::{Broker, Status};

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What went out over HTTP.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    streams_opened: AtomicU64,
    streams_refused: AtomicU64,
    streams_deferred: AtomicU64,
    writes: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    pub(crate) fn stream_opened(&self) {
        self.streams_opened.fetch_add(1, Relaxed);
    }

    pub(crate) fn stream_refused(&self) {
        self.streams_refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn stream_deferred(&self) {
        self.streams_deferred.fetch_add(1, Relaxed);
    }

    /// What `/status` says of it.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::json!({
            "streams_opened": self.streams_opened.load(Relaxed),
            "streams_refused": self.streams_refused.load(Relaxed),
            "streams_deferred": self.streams_deferred.load(Relaxed),
        })
    }

    pub(crate) fn wrote(&self, frames: usize, bytes: usize) {
        self.writes.fetch_add(1, Relaxed);
        self.frames.fetch_add(number(frames), Relaxed);
        self.bytes.fetch_add(number(bytes), Relaxed);
    }
}

/// All of it as text, as it is now.
pub(crate) fn encode(
    status: &Status,
    broker: &Broker,
    traffic: &Traffic,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("tavern");
    let node = vec![
        ("node".to_owned(), status.node.clone()),
        ("namespace".to_owned(), status.namespace.clone()),
        ("backend".to_owned(), status.backend.name.to_owned()),
    ];
    registry.register("node", "The node and what it serves", Info::new(node));

    let mut gauge = |name: &str, help: &str, value: u64| {
        registry.register(name, help, ConstGauge::new(value));
    };
    let c = &status.counters;
    gauge("ready", "Whether it can deliver across processes", broker.readiness().ready.into());
    gauge("backend_up", "Whether the backend's link is up", status.backend.stats.connected.into());
    gauge("backend_delivers", "Whether what is published arrives", status.backend.delivers.into());
    gauge("lag", "Entries the log had beyond that when last asked", status.lag);
    gauge("topics", "Topics with interest, lingering ones included", number(status.topics));
    gauge("subscribers", "Open subscriptions", number(status.subscribers));
    gauge("head", "The log's head as last asked", status.head.unwrap_or(0));
    gauge("watermark", "Up to here all has arrived", status.watermark.unwrap_or(0));
    gauge("spool_entries", "Publications in the spool", c.spool_entries);
    gauge("ring_bytes", "Bytes in the ring", c.ring_bytes);
    gauge("ring_frames", "Frames in the ring", c.ring_frames);

    let mut counter = |name: &str, help: &str, value: u64| {
        registry.register(name, help, ConstCounter::new(value));
    };
    let b = &status.backend;
    counter("backend_connects", "How often the backend's link came up", b.connects);
    counter("backend_sent", "Messages the backend accepted", b.stats.messages_sent);
    counter("backend_received", "Messages on the backend's feed", b.stats.messages_received);
    counter("published_stored", "Publications stored", c.published_stored);
    counter("published_duplicate", "Publications the log had before", c.published_duplicate);
    counter("published_live", "Publications to live topics", c.published_live);
    counter("published_rejected", "Publications refused", c.published_rejected);
    counter("live_unsent", "Live messages that other nodes could not be sent", c.live_unsent);
    counter("spooled", "Publications that went to the spool", c.spooled);
    counter("spool_discarded", "Spooled publications given up", c.spool_discarded);
    counter("entries", "Entries that arrived in order", c.entries);
    counter("duplicate_pushes", "Pushes that had arrived before", c.duplicate_pushes);
    counter("pending_overflow", "Pushes left out above a hole", c.pending_overflow);
    counter("repairs", "Holes read from history", c.repairs);
    counter("holes_lost", "Holes that became gaps", c.holes_lost);
    counter("page_reads", "Pages read from history", c.page_reads);
    counter("page_hits", "Pages found in the cache", c.page_hits);
    counter("gaps", "Gap events given to subscribers", c.gaps);
    counter("resumes", "Connections that resumed", c.resumes);
    counter("fell_off", "Subscribers that went on from history", c.fell_off);
    counter("deaf", "Times a link was up and brought nothing", c.deaf);
    counter("canaries", "Messages sent to prove that one would arrive", c.canaries);
    counter("undecodable", "Entries this version could not read", c.undecodable);
    counter("http_streams_opened", "Streams opened", traffic.streams_opened.load(Relaxed));
    counter(
        "http_streams_refused",
        "Streams told to come back, as the hub was full or closing",
        traffic.streams_refused.load(Relaxed),
    );
    counter(
        "http_streams_deferred",
        "Streams told to come back later, as too many came at once",
        traffic.streams_deferred.load(Relaxed),
    );
    counter("http_stream_writes", "Writes to streams", traffic.writes.load(Relaxed));
    counter("http_stream_frames", "Frames in these writes", traffic.frames.load(Relaxed));
    counter("http_stream_bytes", "Bytes in these writes", traffic.bytes.load(Relaxed));

    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(text)
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
