//! Promise 5: scope is a wall.

use super::order::two;
use crate::Stage;
use crate::cases::history::keeping;
use crate::client::{Client, publish};
use crate::say::{Also, message};

/// Live: scoped messages reach that scope only, unscoped ones the unscoped only.
pub async fn scope_is_a_wall_live(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    for broker in &brokers {
        let mut alice = Client::scoped(broker, &["t", "w/*"], "alice");
        let mut bob = Client::scoped(broker, &["t", "w/*"], "bob");
        let mut none = Client::fresh(broker, &["t", "w/*"]);
        for client in [&mut alice, &mut bob, &mut none] {
            client.opened().await;
        }
        for n in 0..5 {
            for topic in ["t", "w/1"] {
                publish(&brokers[0], message(topic, format!("a{n}")).scope("alice")).await;
                publish(&brokers[0], message(topic, format!("u{n}"))).await;
                publish(&brokers[0], message(topic, format!("b{n}")).scope("bob")).await;
                // Not a prefix, not another case.
                publish(&brokers[0], message(topic, "x").scope("alice2")).await;
                publish(&brokers[0], message(topic, "x").scope("Alice")).await;
            }
        }
        for (client, letter) in [(&mut alice, 'a'), (&mut bob, 'b'), (&mut none, 'u')] {
            let expected = (0..5).flat_map(|n| [format!("{letter}{n}"), format!("{letter}{n}")]);
            assert_eq!(client.texts(10).await, expected.collect::<Vec<_>>());
        }
    }
}

/// On replay the same, from either node, with several topics and wildcards.
pub async fn scope_is_a_wall_on_replay(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let start = publish(&brokers[0], message("t", "start")).await;
    for n in 0..10 {
        let topic = ["t", "w/1"][n % 2];
        publish(&brokers[0], message(topic, format!("a{n}")).scope("alice")).await;
        publish(&brokers[0], message(topic, format!("u{n}"))).await;
        publish(&brokers[1], message(topic, format!("b{n}")).scope("bob")).await;
    }
    for broker in &brokers {
        for (scope, letter) in [(Some("alice"), 'a'), (Some("bob"), 'b'), (None, 'u')] {
            let asked = broker.subscribe(["t", "w/*"]).resume(start);
            let asked = match scope {
                Some(scope) => asked.scope(scope),
                None => asked,
            };
            let texts = Client::open(asked).complete_replay().await;
            assert_eq!(texts, (0..10).map(|n| format!("{letter}{n}")).collect::<Vec<_>>());
        }
        let nobody = broker.subscribe(["t", "w/*"]).resume(start).scope("carol");
        assert_eq!(Client::open(nobody).complete_replay().await, [""; 0]);
    }
}

/// Bob's flood of a topic: alice resumes with what is hers, and is told nothing of his traffic.
pub async fn hard_case_09_another_scopes_flood_is_no_gap_of_mine(stage: Stage) {
    let nodes = [stage.node_keeping(keeping(5)).await, stage.node_keeping(keeping(5)).await];
    let brokers = nodes.each_ref().map(crate::Node::broker);
    let start = publish(&brokers[0], message("notify", "start").scope("alice")).await;
    publish(&brokers[0], message("notify", "for alice").scope("alice")).await;
    for n in 0..40 {
        publish(&brokers[0], message("notify", n.to_string()).scope("bob")).await;
    }
    for broker in &brokers {
        let alice = broker.subscribe(["notify"]).scope("alice").resume(start);
        assert_eq!(Client::open(alice).complete_replay().await, ["for alice"]);
        // One for whom nothing was ever published hears of nothing.
        let carol = broker.subscribe(["notify"]).scope("carol").resume(start);
        assert_eq!(Client::open(carol).complete_replay().await, [""; 0]);
        let bob = broker.subscribe(["notify"]).scope("bob").resume(start);
        let (replay, _) = Client::open(bob).replay().await;
        assert_eq!(replay.reasons(), [tavern_broker::GapReason::Trimmed], "his own are missing");
        assert_eq!(replay.texts(), ["35", "36", "37", "38", "39"]);
    }
}
