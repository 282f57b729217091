//! Several servers that are one.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tavern_testkit::engine::{NatsCluster, NatsFlavor, NatsServer};

use super::{FLAVORS, fill, tail};

/// A cluster of three, and a stream that all of them have.
async fn three(flavor: NatsFlavor) -> NatsCluster {
    let cluster = NatsCluster::start(flavor, 3).await.unwrap();
    let config = json!({ "name": "S", "subjects": ["s.>"], "num_replicas": 3 });
    cluster.js("STREAM.CREATE.S", config).await.unwrap();
    cluster.wait_ready().await.unwrap();
    cluster
}

fn name(index: usize) -> String {
    format!("n{index}")
}

/// Whom this server's clients hear to be the leader of the stream.
async fn leader(server: &NatsServer) -> String {
    let info = server.js("STREAM.INFO.S", Value::Null).await.unwrap();
    info["cluster"]["leader"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn servers_know_their_leaders() {
    join_all(FLAVORS.map(leaders_are_known)).await;
}

async fn leaders_are_known(flavor: NatsFlavor) {
    let cluster = three(flavor).await;
    let first = cluster.stream_leader("S").await.unwrap();
    for server in cluster.servers() {
        assert_eq!(leader(server).await, name(first), "{flavor:?}");
        fill(server, 10).await;
    }
    let all = cluster.leader().await.unwrap();
    let jsz = cluster.server(all).http("/jsz").await.unwrap();
    assert_eq!(jsz["meta_cluster"]["leader"], name(all), "{flavor:?}");
    assert_eq!(cluster.ports().len(), 3, "{flavor:?}");

    let (old, new) = cluster.step_down("S").await.unwrap();
    assert_eq!(old, first, "{flavor:?}");
    assert_ne!(new, first, "{flavor:?}");
    cluster.wait_ready().await.unwrap();
    assert_eq!(leader(cluster.server(old)).await, name(new), "{flavor:?}");
    assert_eq!(tail(cluster.server(old)).await, (30, 30), "{flavor:?}");
}

#[tokio::test]
async fn a_stream_outlives_its_leader() {
    join_all(FLAVORS.map(leaders_are_lost)).await;
}

async fn leaders_are_lost(flavor: NatsFlavor) {
    let cluster = three(flavor).await;
    fill(cluster.server(0), 10).await;
    let (dead, new) = cluster.kill_leader("S").await.unwrap();
    assert!(!cluster.server(dead).is_running(), "{flavor:?}");
    assert_eq!(leader(cluster.server(new)).await, name(new), "{flavor:?}");
    fill(cluster.server(new), 10).await;
    cluster.start_again(dead).await.unwrap();
    assert_eq!(cluster.stream_leader("S").await.unwrap(), new, "{flavor:?}");
    // What it missed it has, by its own account.
    let jsz = cluster.server(dead).http("/jsz?streams=true").await.unwrap();
    let state = &jsz["account_details"][0]["stream_detail"][0]["state"];
    assert_eq!(state["last_seq"], 20, "{flavor:?}: {jsz}");
}

#[tokio::test]
async fn a_cluster_goes_back_to_a_checkpoint() {
    join_all(FLAVORS.map(clusters_go_back)).await;
}

async fn clusters_go_back(flavor: NatsFlavor) {
    let cluster = three(flavor).await;
    let mut client = cluster.server(1).connect().await.unwrap();
    client.subscribe("s.>").await.unwrap();
    fill(cluster.server(0), 100).await;
    cluster.checkpoint().await.unwrap();
    fill(cluster.server(0), 50).await;
    for _ in 0..150 {
        client.next().await.unwrap();
    }
    client.flush().await.unwrap();
    cluster.rewind().await.unwrap();
    for server in cluster.servers() {
        assert_eq!(tail(server).await, (100, 100), "{flavor:?}");
    }
    fill(cluster.server(2), 1).await;
    assert_eq!(tail(cluster.server(0)).await, (101, 101), "{flavor:?}");
}

#[tokio::test]
async fn one_of_three_starts_alone_and_is_not_enough() {
    join_all(FLAVORS.map(one_starts_alone)).await;
}

async fn one_starts_alone(flavor: NatsFlavor) {
    let cluster = three(flavor).await;
    for n in 0..3 {
        cluster.kill(n).await.unwrap();
    }
    cluster.server(0).start_again().await.unwrap();
    assert!(cluster.server(0).http("/healthz").await.is_err(), "{flavor:?}: it is");
}
