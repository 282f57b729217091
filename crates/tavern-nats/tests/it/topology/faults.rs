//! What happens to a cluster while it is used.

use std::time::Duration;

use futures_util::future::try_join_all;
use tavern_testkit::Node;
use tavern_testkit::engine::{NatsFlavor, NatsServer};

use super::clustered::{self, ClusterRig};
use super::crowd::under_load;
use crate::stand::{on_both, until};

on_both! {
    the_leader_of_the_log_dies_under_load,
    leaders_step_down_under_load,
    servers_restart_one_after_the_other,
    all_servers_die_at_once,
    a_follower_stands_still_and_reads_go_on,
    a_leader_stands_still_and_is_not_believed_afterwards,
}

/// Waits until a node has seen something more of the log.
async fn goes_on(node: &Node) {
    let seq = async || node.bus().head().await.map(|head| head.position.seq).unwrap_or_default();
    let before = seq().await;
    until("the log goes on", async || {
        let now = seq().await;
        before > 0 && now > before + 50 || before == 0 && now > 0
    })
    .await;
}

async fn rig(flavor: NatsFlavor) -> ClusterRig {
    ClusterRig::new(&clustered::start(flavor).await, "cluster")
}

/// The death of one server of three is no new epoch.
async fn the_leader_of_the_log_dies_under_load(flavor: NatsFlavor) {
    let rig = rig(flavor).await;
    let head = under_load(&rig, async |_| {
        let (dead, _) = rig.cluster.kill_leader(&rig.log()).await.unwrap();
        rig.cluster.start_again(dead).await.unwrap();
    })
    .await;
    assert_eq!(head.lineage.forks, []);
}

/// Nor is another leader, of the log or of what it says of itself.
async fn leaders_step_down_under_load(flavor: NatsFlavor) {
    let rig = rig(flavor).await;
    let head = under_load(&rig, async |_| {
        for stream in [rig.log(), rig.meta(), rig.log()] {
            rig.cluster.step_down(&stream).await.unwrap();
        }
    })
    .await;
    assert_eq!(head.lineage.forks, []);
}

/// Nor, with two left at any time, that of each.
async fn servers_restart_one_after_the_other(flavor: NatsFlavor) {
    let rig = rig(flavor).await;
    let head = under_load(&rig, async |nodes| {
        for n in 0..3 {
            rig.cluster.kill(n).await.unwrap();
            rig.cluster.start_again(n).await.unwrap();
            // As who does this by plan.
            for node in nodes {
                goes_on(node).await;
            }
        }
    })
    .await;
    assert_eq!(head.lineage.forks, []);
}

/// Nobody can tell that nothing was lost: a new epoch, at the end of the old one.
async fn all_servers_die_at_once(flavor: NatsFlavor) {
    let rig = rig(flavor).await;
    let head = under_load(&rig, async |_| {
        let servers = || rig.cluster.servers().iter();
        try_join_all(servers().map(NatsServer::kill)).await.unwrap();
        try_join_all(servers().map(NatsServer::start_again)).await.unwrap();
        rig.cluster.wait_ready().await.unwrap();
    })
    .await;
    assert_eq!(head.lineage.forks.len(), 1);
    for fork in &head.lineage.forks {
        assert_eq!(fork.at, fork.lost_through, "nothing was lost");
    }
}

/// One that has not got what the others have is asked for nothing that matters: what is read while
/// it stands still, and when it goes on, has no holes.
async fn a_follower_stands_still_and_reads_go_on(flavor: NatsFlavor) {
    let rig = rig(flavor).await;
    let head = under_load(&rig, async |_| {
        let leader = rig.cluster.stream_leader(&rig.log()).await.unwrap();
        let follower = rig.cluster.server((leader + 1) % 3);
        follower.pause().unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        follower.resume().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    })
    .await;
    assert_eq!(head.lineage.forks, []);
}

/// When it goes on it takes itself for the leader for a moment: what it says of the log's end is
/// old, and no reason for a new epoch.
async fn a_leader_stands_still_and_is_not_believed_afterwards(flavor: NatsFlavor) {
    let rig = rig(flavor).await;
    let head = under_load(&rig, async |nodes| {
        let old = rig.cluster.stream_leader(&rig.log()).await.unwrap();
        rig.cluster.server(old).pause().unwrap();
        let new = rig.cluster.stream_leader(&rig.log()).await.unwrap();
        assert_ne!(old, new);
        for node in nodes {
            goes_on(node).await;
        }
        rig.cluster.server(old).resume().unwrap();
        for node in nodes {
            goes_on(node).await;
        }
        rig.cluster.wait_ready().await.unwrap();
    })
    .await;
    assert_eq!(head.lineage.forks, []);
}
