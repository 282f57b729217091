//! A cluster: the namespace moves from one master to another.

use tavern_testkit::engine::{Flavor, RedisOptions};

use super::clustered::{self, ClusterRig};
use super::suite::play_all;

#[test]
fn every_case_passes_on_a_cluster() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(clustered::start(RedisOptions::new(Flavor::Redis)));
    let timeout = async |millis| {
        for node in cluster.nodes() {
            node.cli(&["CONFIG", "SET", "cluster-node-timeout", millis]).await.unwrap();
        }
    };
    // With so much to do none is to count as dead.
    runtime.block_on(timeout("15000"));
    play_all(
        AT_ONCE,
        |namespace| ClusterRig { cluster: std::sync::Arc::clone(&cluster), namespace },
        || {
            runtime.block_on(timeout("1000"));
            runtime.block_on(clustered::empty(&cluster));
        },
    );
}

/// Most of a case is waiting.
const AT_ONCE: usize = 4;
