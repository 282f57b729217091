//! A cluster: the namespace moves from one master to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tavern_backend::Bus;
use tavern_redis::RedisBackend;
use tavern_testkit::engine::{Flavor, RedisCluster, RedisOptions, RedisServer};
use tavern_testkit::say::{filter, message};
use tavern_testkit::wait::within;
use tavern_testkit::{Client, Listener, Node, Stage, publish};

use super::clustered::{self, ClusterRig};
use super::suite::{Namespace, play_all};
use crate::pair::texts;
use crate::stand::{store, until};

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
        &[&cluster],
        AT_ONCE,
        |cluster, namespace| ClusterRig { cluster: Arc::clone(cluster), namespace },
        || {
            runtime.block_on(timeout("1000"));
            runtime.block_on(clustered::empty(&cluster));
        },
    );
}

/// Most of a case is waiting.
const AT_ONCE: usize = 3;

/// Two nodes publish while the slot goes to another master, key by key, and back: nothing is lost,
/// nothing comes twice, and there is no gap.
#[tokio::test]
async fn the_slot_moves_to_another_master() {
    let cluster = Arc::new(RedisCluster::start(RedisOptions::default(), 3, 0).await.unwrap());
    let (stage, key) = stage(&cluster);
    let nodes = [stage.node().await, stage.node().await];
    let brokers = nodes.each_ref().map(Node::broker);
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    for client in &mut clients {
        client.opened().await;
    }
    // One that never asks anything of its own accord: the server tells it.
    let mut config = clustered::config(&cluster, NAMESPACE);
    config.sweep_interval = Duration::from_secs(3600);
    let idle = Bus::new(within("a node opens", RedisBackend::open(config)).await.unwrap());
    let mut listener = Listener::new(&idle);
    idle.add_interest(&[filter("t")]).await.unwrap();

    let from = cluster.master_of(&key).await.unwrap();
    let to = cluster.nodes().iter().find(|node| node.port() != from.port()).unwrap();
    let (mut count, mut links) = (0, 1);
    for (from, to) in [(from, to), (to, from)] {
        let moved = AtomicBool::new(false);
        let publishing = async {
            let mut left = 10;
            while left > 0 {
                left -= u32::from(moved.load(Ordering::Relaxed));
                count += 1;
                publish(&brokers[usize::from(count % 2 == 0)], message("t", count.to_string()))
                    .await;
            }
        };
        let moving = async {
            migrate(&cluster, &key, from, to).await.unwrap();
            moved.store(true, Ordering::Relaxed);
        };
        tokio::join!(publishing, moving);
        assert_eq!(cluster.master_of(&key).await.unwrap().port(), to.port());
        links += 1;
        until("the idle node follows", || async { idle.health().get().connects >= links }).await;
    }
    count += 1;
    let last = publish(&brokers[0], message("t", count.to_string())).await;
    listener.until_seq(last.0.seq).await;
    idle.close().await.unwrap();
    for client in &mut clients {
        assert_eq!(client.texts(usize::try_from(count).unwrap()).await, texts(1..=count));
    }
    assert_eq!(nodes[0].texts().await, texts(1..=count), "each once, in order");
}

/// On Redis 7 and newer a message goes to the node that has the slot, and not to the whole cluster.
#[tokio::test]
async fn messages_stay_on_one_node_of_the_cluster() {
    for flavor in [Flavor::Redis, Flavor::Valkey] {
        let cluster = RedisCluster::start(RedisOptions::new(flavor), 3, 0).await.unwrap();
        let cluster = Arc::new(cluster);
        let (stage, key) = stage(&cluster);
        let broker = stage.node().await.broker();
        let mut client = Client::fresh(&broker, &["t"]);
        client.opened().await;
        publish(&broker, message("t", "1")).await;
        assert_eq!(client.texts(1).await, ["1"]);
        for node in cluster.nodes() {
            let ours = node.port() == cluster.master_of(&key).await.unwrap().port();
            let channels = node.cli(&["PUBSUB", "SHARDCHANNELS"]).await.unwrap().to_string();
            assert_eq!(channels.contains(&key.replace(":meta", ":spine")), ours, "{channels}");
            assert_eq!(node.cli(&["PUBSUB", "CHANNELS"]).await.unwrap().items().len(), 0);
        }
    }
}

/// Masters die, another's first and then ours; the cluster promotes their replicas by itself.
#[tokio::test]
async fn masters_of_the_cluster_die() {
    let cluster = clustered::start(RedisOptions::default()).await;
    let (stage, key) = stage(&cluster);
    let nodes = [stage.node().await, stage.node().await];
    let brokers = nodes.each_ref().map(Node::broker);
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    for client in &mut clients {
        client.opened().await;
    }
    let publish_next = async |from: u32| {
        for n in from..from + 10 {
            publish(&brokers[usize::from(n % 2 == 0)], message("t", n.to_string())).await;
        }
    };
    publish_next(1).await;

    // Another shard's replica, whom nobody needs.
    let connects = nodes.each_ref().map(|node| node.bus().health().get().connects);
    let foreign = foreign_key(&cluster, &key).await;
    let dead = cluster.replicas_of(&foreign).await.unwrap()[0];
    dead.kill().await.unwrap();
    publish_next(11).await;
    assert_eq!(nodes.each_ref().map(|node| node.bus().health().get().connects), connects);
    dead.start_again().await.unwrap();
    cluster.wait_ok().await.unwrap();
    dead.wait_synced().await.unwrap();

    // Its master: a cluster that lacks slots refuses everything for a moment.
    let killing = async { cluster.kill_master_of(&foreign).await.unwrap().0.port() };
    tokio::join!(killing, publish_next(21));

    for replica in cluster.replicas_of(&key).await.unwrap() {
        replica.wait_synced().await.unwrap();
    }
    let (dead, _) = cluster.kill_master_of(&key).await.unwrap();
    publish_next(31).await;
    for client in &mut clients {
        assert_eq!(client.texts(40).await, texts(1..=40), "and no gap");
    }
    dead.start_again().await.unwrap();
    cluster.wait_ok().await.unwrap();
    publish_next(41).await;
    for client in &mut clients {
        assert_eq!(client.texts(10).await, texts(41..=50));
    }
    assert_eq!(nodes[0].texts().await, texts(1..=50), "each once, in order");
}

/// A node is told of one address, whose server dies: it has heard of the others by then.
#[tokio::test]
async fn the_only_configured_node_of_the_cluster_dies() {
    let cluster = clustered::start(RedisOptions::default()).await;
    let (_, key) = stage(&cluster);
    let master = cluster.master_of(&key).await.unwrap();
    let mut config = clustered::config(&cluster, NAMESPACE);
    config.addresses = vec![("127.0.0.1".to_owned(), master.port())];
    let backend = within("a node opens", RedisBackend::open(config)).await.unwrap();
    let bus = Bus::new(backend);
    let (_, new) = cluster.kill_master_of(&key).await.unwrap();
    within("the new master is found", async {
        let mut health = bus.health();
        while health.get().connects < 2 {
            health.wait_up().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_ne!(new.port(), master.port());
    store(&bus, message("t", "1")).await;
    bus.close().await.unwrap();
}

const NAMESPACE: &str = "moving";

fn stage(cluster: &Arc<RedisCluster>) -> (Stage, String) {
    let namespace = Namespace::of(NAMESPACE);
    let key = namespace.key();
    (Stage::new(ClusterRig { cluster: Arc::clone(cluster), namespace }), key)
}

/// A key that another master has.
async fn foreign_key(cluster: &RedisCluster, key: &str) -> String {
    let ours = cluster.master_of(key).await.unwrap().port();
    for n in 0..100 {
        let key = format!("foreign{n}");
        if cluster.master_of(&key).await.unwrap().port() != ours {
            return key;
        }
    }
    panic!("one master has all keys")
}

/// Moves the slot of a key as administrators do: key by key, while it is used.
async fn migrate(
    cluster: &RedisCluster,
    key: &str,
    from: &RedisServer,
    to: &RedisServer,
) -> std::io::Result<()> {
    let slot = cluster.slot_of(key).await?.to_string();
    let slot = slot.as_str();
    let from_id = from.cli(&["CLUSTER", "MYID"]).await?.text();
    let to_id = to.cli(&["CLUSTER", "MYID"]).await?.text();
    to.cli(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &from_id]).await?;
    from.cli(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &to_id]).await?;
    let port = to.port().to_string();
    loop {
        let keys = from.cli(&["CLUSTER", "GETKEYSINSLOT", slot, "2"]).await?;
        let keys: Vec<_> = keys.items().iter().map(tavern_testkit::engine::Reply::text).collect();
        if keys.is_empty() {
            break;
        }
        let head = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        let words: Vec<_> = head.into_iter().chain(keys.iter().map(String::as_str)).collect();
        from.cli(&words).await?;
    }
    for node in [to, from].into_iter().chain(cluster.nodes()) {
        node.cli(&["CLUSTER", "SETSLOT", slot, "NODE", &to_id]).await?;
    }
    cluster.wait_ok().await
}
