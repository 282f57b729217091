//! Several servers that are one.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tavern_testkit::engine::{NatsCluster, NatsFlavor, NatsServer};

use super::{FLAVORS, burst, fill, tail};

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
    // What it missed it has.
    assert_eq!(own_tail(cluster.server(dead)).await, 20, "{flavor:?}");
}

#[tokio::test]
async fn a_cluster_goes_back_to_a_checkpoint() {
    join_all(FLAVORS.map(clusters_go_back)).await;
}

async fn clusters_go_back(flavor: NatsFlavor) {
    let cluster = three(flavor).await;
    let mut conn = cluster.server(1).connect().await.unwrap();
    let inbox = conn.subscribe("answers.>").await.unwrap();
    let before = burst(&mut conn, inbox, 300).await;
    let (saved, after) = tokio::join!(cluster.checkpoint(), burst(&mut conn, inbox, 3_000));
    saved.unwrap();
    fill(cluster.server(0), 10).await;
    conn.flush().await.unwrap();
    cluster.rewind().await.unwrap();
    let (messages, last) = tail(cluster.server(0)).await;
    assert_eq!(messages, last, "{flavor:?}");
    assert!((before..=after).contains(&last), "{flavor:?}: {before} {last} {after}");
    for server in cluster.servers() {
        assert_eq!(own_tail(server).await, last, "{flavor:?}");
    }
    fill(cluster.server(2), 1).await;
    assert_eq!(tail(cluster.server(0)).await, (last + 1, last + 1), "{flavor:?}");
}

/// The number of the last message that this server has, by its own account.
async fn own_tail(server: &NatsServer) -> u64 {
    let jsz = server.http("/jsz?streams=true").await.unwrap();
    jsz["account_details"][0]["stream_detail"][0]["state"]["last_seq"].as_u64().unwrap()
}

#[tokio::test]
async fn one_of_three_starts_without_the_others() {
    join_all(FLAVORS.map(one_starts_alone)).await;
}

async fn one_starts_alone(flavor: NatsFlavor) {
    let cluster = three(flavor).await;
    for n in 0..3 {
        cluster.kill(n).await.unwrap();
    }
    cluster.server(0).start_again().await.unwrap();
    let running = [0, 1, 2].map(|n| cluster.server(n).is_running());
    assert_eq!(running, [true, false, false], "{flavor:?}");
    cluster.server(0).connect().await.unwrap();
}
