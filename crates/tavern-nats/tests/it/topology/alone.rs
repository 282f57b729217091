//! A log on one server of several, and nodes that reach it through another.

use std::time::Duration;

use tavern_backend::{Bus, Epoch, Publication};
use tavern_nats::NatsBackend;
use tavern_testkit::engine::NatsFlavor;
use tavern_testkit::say::message;
use tavern_testkit::wait::{with_patience, within};
use tokio::time::Instant;

use super::clustered::{self, ClusterRig};
use super::crowd::PATIENCE;
use crate::stand::{append, on_both, until};

on_both! {
    the_one_server_of_the_log_restarts_behind_another,
    most_servers_of_the_log_restart_behind_a_link_that_lives,
}

async fn put(bus: &Bus, text: &str) {
    let (key, accepted) = (bus.next_key(), Instant::now());
    append(bus, vec![Publication { key, envelope: message("t", text), accepted }]).await;
}

async fn epoch(bus: &Bus) -> Epoch {
    within("the head", async {
        loop {
            match bus.head().await {
                Ok(head) => return head.position.epoch,
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// It may have less than it had, and the link to the other server lives: nothing but its id tells.
async fn the_one_server_of_the_log_restarts_behind_another(flavor: NatsFlavor) {
    with_patience(PATIENCE, restarts(flavor, 1)).await;
}

async fn most_servers_of_the_log_restart_behind_a_link_that_lives(flavor: NatsFlavor) {
    with_patience(PATIENCE, restarts(flavor, 3)).await;
}

async fn restarts(flavor: NatsFlavor, replicas: u8) {
    let rig = ClusterRig::new(&clustered::start(flavor).await, "cluster");
    let mut config = rig.config();
    config.replicas = replicas;
    config.timeout = PATIENCE;
    let first = within("a node opens", NatsBackend::open(config.clone())).await.unwrap();
    let first = Bus::new(first);
    put(&first, "1").await;
    first.close().await.unwrap();
    let leader = rig.cluster.stream_leader(&rig.log()).await.unwrap();
    let mine = (leader + 1) % 3;
    config.servers = vec![("127.0.0.1".to_owned(), rig.cluster.ports()[mine])];
    let bus = Bus::new(within("a node opens", NatsBackend::open(config)).await.unwrap());
    put(&bus, "2").await;
    let connects = bus.health().get().connects;
    let mut before = epoch(&bus).await;
    // Of several none answers while most are away, and a publish without an answer ends the link.
    for round in i32::from(replicas > 1)..2 {
        let gone = if replicas == 1 { vec![leader] } else { vec![leader, 3 - mine - leader] };
        for server in &gone {
            rig.cluster.kill(*server).await.unwrap();
        }
        let back = async {
            for server in &gone {
                rig.cluster.server(*server).start_again().await.unwrap();
            }
        };
        if round == 0 {
            // Somebody publishes meanwhile.
            tokio::join!(put(&bus, "3"), back);
        } else {
            back.await;
            rig.cluster.wait_ready().await.unwrap();
            until("the next publish finds it out", async || {
                put(&bus, "4").await;
                epoch(&bus).await != before
            })
            .await;
        }
        let after = epoch(&bus).await;
        assert_ne!(before, after, "round {round}: the log's servers are others");
        before = after;
    }
    assert_eq!(bus.health().get().connects, connects, "the link has lived");
    bus.close().await.unwrap();
}
