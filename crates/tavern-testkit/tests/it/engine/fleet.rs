//! Several servers that are one: a cluster, and a pair under Sentinels.

use futures_util::future::join_all;
use tavern_testkit::engine::{Flavor, RedisCluster, RedisOptions, RedisSentinel};

use super::{FLAVORS, get, set};

const KEYS: [&str; 4] = ["a", "b", "c", "{a}d"];

#[tokio::test]
async fn each_key_of_a_cluster_has_one_master() {
    join_all(FLAVORS.map(keys_have_a_master)).await;
}

async fn keys_have_a_master(flavor: Flavor) {
    let cluster = RedisCluster::start(RedisOptions::new(flavor), 3, 0).await.unwrap();
    let mut ports = std::collections::BTreeSet::new();
    for key in KEYS {
        let master = cluster.master_of(key).await.unwrap();
        set(master, key, "1").await;
        ports.insert(master.port());
        for other in cluster.nodes().iter().filter(|node| node.port() != master.port()) {
            let slot = cluster.slot_of(key).await.unwrap();
            let error = other.cli(&["GET", key]).await.unwrap_err().to_string();
            assert_eq!(error, format!("MOVED {slot} {}", master.addr()), "{flavor:?}");
        }
    }
    assert_eq!(ports.len(), 3, "{flavor:?}: a, b and c are on three nodes");
}

#[tokio::test]
async fn a_cluster_loses_a_master_and_goes_on() {
    join_all(FLAVORS.map(masters_are_lost)).await;
}

async fn masters_are_lost(flavor: Flavor) {
    let cluster = RedisCluster::start(RedisOptions::new(flavor), 3, 1).await.unwrap();
    let first = cluster.master_of("a").await.unwrap();
    set(first, "a", "1").await;
    cluster.replicas_of("a").await.unwrap()[0].wait_synced().await.unwrap();

    first.cut_replication().await.unwrap();
    set(first, "{a}lost", "1").await;
    let second = cluster.take_over("a").await.unwrap();
    assert_ne!(second.port(), first.port(), "{flavor:?}");
    assert_eq!(get(second, "a").await, "1", "{flavor:?}");
    assert_eq!(get(second, "{a}lost").await, "", "{flavor:?}");
    first.wait_synced().await.unwrap();

    let (dead, third) = cluster.kill_master_of("a").await.unwrap();
    assert_eq!((dead.port(), third.port()), (second.port(), first.port()), "{flavor:?}");
    assert_eq!(get(third, "a").await, "1", "{flavor:?}");
    dead.start_again().await.unwrap();
    cluster.wait_ok().await.unwrap();
    assert_eq!(cluster.master_of("a").await.unwrap().port(), third.port(), "{flavor:?}");
}

#[tokio::test]
async fn sentinels_promote_the_replica() {
    join_all(FLAVORS.map(replicas_are_promoted)).await;
}

async fn replicas_are_promoted(flavor: Flavor) {
    let these = RedisSentinel::start(RedisOptions::new(flavor), 3).await.unwrap();
    let first = these.master().await.unwrap();
    assert_eq!(first.port(), these.servers()[0].port(), "{flavor:?}");
    set(first, "a", "1").await;
    these.servers()[1].wait_synced().await.unwrap();

    let (dead, second) = these.kill_master().await.unwrap();
    assert_eq!(dead.port(), first.port(), "{flavor:?}");
    assert_eq!(get(second, "a").await, "1", "{flavor:?}");
    set(second, "b", "1").await;
    dead.start_again().await.unwrap();
    these.wait_ready().await.unwrap();
    dead.wait_synced().await.unwrap();
    assert_eq!(get(dead, "b").await, "1", "{flavor:?}");
}

#[tokio::test]
async fn sentinels_switch_on_demand() {
    join_all(FLAVORS.map(roles_are_switched)).await;
}

async fn roles_are_switched(flavor: Flavor) {
    let options = RedisOptions::new(flavor).with_user("anna", "secret");
    let these = RedisSentinel::start(options, 2).await.unwrap();
    let [first, second] = these.servers() else { panic!("two servers") };
    set(first, "a", "1").await;
    second.wait_synced().await.unwrap();
    assert_eq!(these.failover().await.unwrap().port(), second.port(), "{flavor:?}");
    assert_eq!(get(second, "a").await, "1", "{flavor:?}");
    set(second, "b", "1").await;
}
