//! Promise 9: an expired entry is not delivered.

use std::time::Duration;

use super::order::two;
use crate::Stage;
use crate::client::{Client, publish};
use crate::say::{Also, message};

const TTL: Duration = Duration::from_millis(200);

/// A push that was held up until its message expired is not delivered, and that is no gap.
pub async fn expired_is_not_delivered_live(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    nodes[1].cable().hold();
    // Neither may history bring it earlier.
    nodes[1].cable().hang_reads();
    publish(&brokers[0], message("t", "short").ttl(TTL)).await;
    publish(&brokers[0], message("t", "long").ttl(Duration::from_secs(3600))).await;
    publish(&brokers[0], message("t", "for ever")).await;
    nodes[0].log_time_passes(TTL).await;
    nodes[1].cable().mend_reads();
    nodes[1].cable().release();
    assert_eq!(client.texts(2).await, ["long", "for ever"]);
}

/// A message that has not expired is delivered, live and on replay.
pub async fn what_is_not_expired_is_delivered(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    let opening = client.opened().await;
    let day = Duration::from_secs(24 * 3600);
    publish(&brokers[0], message("t", "x").ttl(day)).await;
    assert_eq!(client.message().await.envelope().ttl, Some(day));
    assert_eq!(Client::resume(&brokers[0], &["t"], opening).complete_replay().await, ["x"]);
}

/// On replay an expired entry is left out, on both nodes, and that is no gap.
pub async fn expired_is_not_replayed(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let start = publish(&brokers[0], message("t", "start")).await;
    publish(&brokers[0], message("t", "short").ttl(TTL)).await;
    publish(&brokers[0], message("t", "between")).await;
    publish(&brokers[0], message("t", "short too").ttl(TTL).scope("s")).await;
    publish(&brokers[0], message("t", "last").ttl(Duration::from_secs(3600))).await;
    nodes[0].log_time_passes(TTL).await;
    for broker in &brokers {
        // The node's own clock may be a little behind what it learnt of the log's.
        let replayed = Client::resume(broker, &["t"], start).complete_replay().await;
        assert_eq!(replayed, ["between", "last"]);
        let scoped = broker.subscribe(["t"]).scope("s").resume(start);
        assert_eq!(Client::open(scoped).complete_replay().await, [""; 0]);
    }
}

/// A TTL counts from acceptance: what expires in the spool is not delivered.
pub async fn a_ttl_runs_out_in_the_spool(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let broker = nodes[0].broker_with(|config| config.publish_patience = Duration::from_millis(20));
    let other = nodes[1].broker();
    let mut client = Client::fresh(&other, &["t"]);
    client.opened().await;
    nodes[0].cable().cut();
    let spooling = [message("t", "short").ttl(TTL), message("t", "for ever")];
    for envelope in spooling {
        let outcome = broker.publish_envelope(envelope).await.expect("spooled");
        assert!(matches!(outcome, tavern_broker::Outcome::Spooled(_)), "{outcome:?}");
    }
    nodes[1].log_time_passes(TTL).await;
    nodes[0].cable().heal().await.expect("healed");
    assert_eq!(client.texts(1).await, ["for ever"]);
}
