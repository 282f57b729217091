//! A pair under Sentinels, of which the primary dies.

use tavern_testkit::engine::{Flavor, RedisOptions};

use super::guarded::{self, SentinelRig};
use super::suite::play_all;

#[test]
fn every_case_passes_under_sentinels() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pair = runtime.block_on(guarded::start(RedisOptions::new(Flavor::Redis)));
    let patience = async |millis: [&str; 3]| {
        for (sentinel, millis) in pair.sentinels().iter().zip(millis) {
            let set = ["SENTINEL", "SET", pair.name(), "down-after-milliseconds", millis];
            sentinel.cli(&set).await.unwrap();
        }
    };
    // With so much to do none is to count as dead.
    runtime.block_on(patience(["15000"; 3]));
    play_all(
        AT_ONCE,
        |namespace| SentinelRig { pair: std::sync::Arc::clone(&pair), namespace },
        || {
            runtime.block_on(patience(["1000", "1400", "1800"]));
            // Or every failover would copy it from server to server.
            let flush = async { pair.master().await.unwrap().cli(&["FLUSHALL"]).await.unwrap() };
            runtime.block_on(flush);
        },
    );
}

/// Most of a case is waiting.
const AT_ONCE: usize = 4;
