//! Which server a node uses, and what it says when there is none that can do anything.

use std::time::Duration;

use tavern_backend::{Bus, Error, ReadQuery};
use tavern_nats::NatsBackend;
use tavern_testkit::engine::{NatsFlavor, NatsOptions};
use tavern_testkit::say::message;
use tavern_testkit::wait::{with_patience, within};
use tavern_testkit::{Client, publish};

use super::clustered::{self, ClusterRig};
use super::crowd::{PATIENCE, under_load};
use crate::stand::{Stand, down, on_both, store, texts, until, up};

on_both! {
    the_only_configured_server_dies,
    most_servers_are_gone,
    a_lame_duck_is_left_before_it_goes,
    a_lame_duck_alone_comes_back,
}

/// A node is told of one address, whose server dies: it has heard of the others by then.
async fn the_only_configured_server_dies(flavor: NatsFlavor) {
    let rig = ClusterRig::new(&clustered::start(flavor).await, "cluster");
    let mut config = rig.config();
    config.servers.truncate(1);
    let bus = Bus::new(within("a node opens", NatsBackend::open(config)).await.unwrap());
    store(&bus, message("t", "1")).await;
    rig.cluster.kill(0).await.unwrap();
    down(&bus).await;
    with_patience(PATIENCE, async {
        assert!(up(&bus).await);
        assert_eq!(store(&bus, message("t", "2")).await, 2);
    })
    .await;
    assert_eq!(bus.head().await.unwrap().lineage.forks, []);
    assert!(!rig.cluster.server(0).is_running());
    bus.close().await.unwrap();
}

/// One of three can do nothing: whoever asks is told so, and why, and when the others are back all
/// goes on.
async fn most_servers_are_gone(flavor: NatsFlavor) {
    with_patience(PATIENCE, most_are_gone(flavor)).await;
}

async fn most_are_gone(flavor: NatsFlavor) {
    let rig = ClusterRig::new(&clustered::start(flavor).await, "cluster");
    let stage = rig.stage();
    let nodes = [stage.node().await, stage.node().await];
    let broker = nodes[0].broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    let leader = rig.cluster.stream_leader(&rig.log()).await.unwrap();
    for n in [(leader + 1) % 3, (leader + 2) % 3] {
        rig.cluster.kill(n).await.unwrap();
    }
    let bus = nodes[1].bus();
    // A leader takes some seconds to notice that it is alone, and may answer what it has until then.
    let why = || bus.health().get().reason.map(|why| why.to_string()).unwrap_or_default();
    until("the node says what is wrong", async || {
        match bus.publish(message("alone", "x")).await {
            Err(Error::Unavailable { .. } | Error::OutcomeUnknown { .. }) => {}
            other => panic!("unavailable, or unknown, not {other:?}"),
        }
        why().contains("leader") && bus.read(ReadQuery::range(0, 9)).await.is_err()
    })
    .await;
    assert!(!bus.healthy());
    let error = bus.read(ReadQuery::range(0, 9)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("servers"), "{error}");

    let waiting = publish(&broker, message("t", "2"));
    let coming_back = async {
        for n in [(leader + 1) % 3, (leader + 2) % 3] {
            rig.cluster.server(n).start_again().await.unwrap();
        }
    };
    tokio::join!(waiting, coming_back);
    assert!(up(bus).await);
    publish(&broker, message("t", "3")).await;
    assert_eq!(client.texts(3).await, texts(1..=3), "and no gap");
    for fork in &nodes[0].head().await.lineage.forks {
        assert_eq!(fork.at, fork.lost_through, "nothing was lost");
    }
    stage.close().await;
}

const GRACE: Duration = Duration::from_secs(6);

/// A server that is to go says so, and closes connections later: by then nobody uses it.
async fn a_lame_duck_is_left_before_it_goes(flavor: NatsFlavor) {
    let options = NatsOptions::new(flavor).with_lame_duck_grace(GRACE);
    let rig = ClusterRig::new(&clustered::start(options).await, "cluster");
    let head = under_load(&rig, async |nodes| {
        let (buses, duck) = (nodes.each_ref().map(|node| node.bus()), rig.cluster.server(0));
        let before = buses.map(|bus| bus.health().get().connects);
        duck.lame_duck().unwrap();
        // Before that is over it closes nothing.
        let elsewhere = with_patience(GRACE.mul_f64(0.8), async {
            until("they are elsewhere", async || {
                buses.iter().zip(before).all(|(bus, before)| bus.health().get().connects > before)
            })
            .await;
        });
        elsewhere.await;
        until("it is gone", async || !duck.is_running()).await;
        let now = buses.map(|bus| bus.health().get());
        assert!(now.iter().all(|health| health.up), "{now:?}");
        rig.cluster.start_again(0).await.unwrap();
    })
    .await;
    assert_eq!(head.lineage.forks, []);
}

/// With no other server to go to, a node is down until there is one.
async fn a_lame_duck_alone_comes_back(flavor: NatsFlavor) {
    let options = NatsOptions::new(flavor).with_lame_duck_grace(Duration::from_millis(500));
    let stand = Stand::start_with(options).await;
    let stage = stand.stage();
    let node = stage.node().await;
    let broker = node.broker();
    let mut client = Client::fresh(&broker, &["t"]);
    client.opened().await;
    publish(&broker, message("t", "1")).await;
    stand.server.lame_duck().unwrap();
    let reason = down(node.bus()).await;
    assert!(reason.contains("lame duck"), "{reason}");
    let waiting = publish(&broker, message("t", "2"));
    let coming_back = async {
        until("it is gone", async || !stand.server.is_running()).await;
        stand.server.start_again().await.unwrap();
    };
    tokio::join!(waiting, coming_back);
    publish(&broker, message("t", "3")).await;
    assert_eq!(client.texts(3).await, texts(1..=3));
    assert_eq!(node.texts().await, texts(1..=3));
    stage.close().await;
}
