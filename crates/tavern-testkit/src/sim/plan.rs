//! What a seed decides before anything happens.

use std::time::Duration;

use fastrand::Rng;
use tavern_backend::{Keep, Retention, TopicFilter};
use tavern_broker::BrokerConfig;

use super::log::Rules;
use super::trouble::Trouble;

/// Topics that are published to; those under `live` skip the log.
const TOPICS: [&str; 8] = ["a", "b", "b/c", "b/d", "e/f/g", "h", "live/x", "live/y/z"];
/// What clients ask for. The last is more than is followed topic by topic.
const WISHES: [&[&str]; 9] = [
    &["a"],
    &["a", "b", "h"],
    &["b/**"],
    &["**"],
    &["*/c", "a"],
    &["e/*/g", "b/*"],
    &["live/**"],
    &["live/x", "a", "b/c"],
    &[
        "a", "b", "b/c", "b/d", "e/f/g", "h", "t/0", "t/1", "t/2", "t/3", "t/4", "t/5", "t/6",
        "t/7", "t/8", "t/9", "live/x", "t/10",
    ],
];
/// Who may see it.
pub(super) const SCOPES: [Option<&str>; 3] = [None, Some("s1"), Some("s2")];

/// One run: how large, how long, and what happens how often.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) clients: usize,
    pub(super) lasts: Duration,
    /// Mean time between two things that happen, in milliseconds.
    pub(super) pace: u64,
    pub(super) weights: Vec<(Trouble, u32)>,
    pub(super) rules: Rules,
    pub(super) config: BrokerConfig,
    pub(super) feed: usize,
    /// Whether some nodes run the newer version.
    pub(super) mixed: bool,
    /// Whether the log's clock jumps.
    pub(super) jumps: bool,
}

impl Plan {
    pub(super) fn of(rng: &mut Rng) -> Self {
        let millis = |rng: &mut Rng, least, most| Duration::from_millis(rng.u64(least..most));
        let age =
            |rng: &mut Rng| if rng.bool() { Duration::ZERO } else { millis(rng, 2_000, 30_000) };
        let keep = Keep::new(rng.u32(3..60), age(rng));
        let filter = |text: &str| TopicFilter::new(text).ok();
        let mut retention = Retention::default().with_default(keep);
        for (text, keep) in [
            ("live/**", Some(Keep::live())),
            ("b/**", rng.bool().then(|| Keep::new(rng.u32(1..20), Duration::ZERO))),
        ] {
            if let (Some(filter), Some(keep)) = (filter(text), keep) {
                retention = retention.with_rule(filter, keep);
            }
        }
        let forget = if rng.u32(..4) == 0 { millis(rng, 2_000, 20_000) } else { DAY };
        let most_floors = if rng.u32(..4) == 0 { rng.usize(..3) } else { 4096 };
        let rules = Rules {
            retention,
            dedup_window: Duration::from_secs(300),
            forget_after: forget,
            most_floors,
            max_payload: 600,
        };
        let weights = Trouble::ALL.iter().map(|(trouble, often)| {
            let factor = [0, 1, 3, 10][rng.usize(..4)];
            (
                *trouble,
                if matches!(trouble, Trouble::Publish) { *often } else { often * factor / 3 },
            )
        });
        let weights = weights.collect();
        let jumps = rng.u32(..4) == 0;
        Self {
            nodes: rng.usize(2..=4),
            clients: rng.usize(2..=7),
            lasts: millis(rng, 15_000, 60_000),
            pace: rng.u64(10..80),
            weights,
            rules,
            config: config(rng),
            feed: if rng.u32(..3) == 0 { rng.usize(2..8) } else { 1024 },
            mixed: rng.u32(..4) == 0,
            jumps,
        }
    }

    /// A topic to publish to: a few get most.
    pub(super) fn topic(rng: &mut Rng) -> String {
        match rng.u32(..10) {
            0 => format!("t/{}", rng.u32(..12)),
            1..5 => TOPICS[rng.usize(..3)].to_owned(),
            _ => TOPICS[rng.usize(..TOPICS.len())].to_owned(),
        }
    }

    pub(super) fn wish(rng: &mut Rng) -> Vec<TopicFilter> {
        let wish = WISHES[rng.usize(..WISHES.len())];
        wish.iter().filter_map(|filter| TopicFilter::new(filter).ok()).collect()
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Limits and times small enough to be met.
fn config(rng: &mut Rng) -> BrokerConfig {
    let millis = |rng: &mut Rng, least, most| Duration::from_millis(rng.u64(least..most));
    let mut config = BrokerConfig::default();
    config.ring_bytes = rng.usize(6_000..120_000);
    config.page_cache_bytes = rng.usize(2_000..60_000);
    config.linger = millis(rng, 100, 5_000);
    config.probe_interval = millis(rng, 100, 1_000);
    config.repair_delay = millis(rng, 2, 20);
    config.repair_patience = millis(rng, 500, 5_000);
    config.pending_entries = rng.usize(2..200);
    config.max_replay = (rng.u32(..5) == 0).then(|| rng.usize(1..40));
    config.publish_queue = rng.usize(2..64);
    config.publish_batch = rng.usize(1..16);
    config.publish_patience = millis(rng, 200, 2_000);
    config.spool_entries = rng.usize(2..80);
    config.spool_bytes = rng.usize(1_000..40_000);
    config.spool_age = millis(rng, 2_000, 20_000);
    config.close_drain = millis(rng, 200, 2_000);
    config.close_spread = millis(rng, 10, 500);
    config.open_patience = millis(rng, 100, 2_000);
    config
}
