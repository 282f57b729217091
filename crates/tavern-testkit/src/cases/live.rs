//! Live topics: no log, no id, at most once.

use tavern_backend::{Keep, Retention};
use tavern_broker::{Broker, Delivery, GapReason, Outcome};

use crate::client::{Client, publish};
use crate::say::{Also, filter, message};
use crate::wait::within;
use crate::{Node, Stage};

/// Subscribers of every node get a live message once, the publisher's own node included; it has no
/// cursor and no id line.
pub async fn live_messages_come_once_everywhere(stage: Stage) {
    let (_nodes, brokers) = two_live(&stage).await;
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["live/*"]));
    for client in &mut clients {
        client.opened().await;
    }
    for n in 0..30 {
        send(&brokers[0], &n.to_string()).await;
    }
    for client in &mut clients {
        for n in 0..30 {
            let message = client.message().await;
            assert_eq!(message.data().as_str(), n.to_string(), "once, in order");
            assert_eq!(message.cursor(), None);
            let frame = String::from_utf8_lossy(message.encoded()).into_owned();
            assert_eq!(frame, format!("data: {n}\n\n"));
        }
    }
    // One of the other node's behind them: no second copy came between.
    send(&brokers[1], "last").await;
    for client in &mut clients {
        assert_eq!(client.texts(1).await, ["last"]);
    }
}

/// Scope is a wall for live topics too.
pub async fn live_messages_respect_scopes(stage: Stage) {
    let (_nodes, brokers) = two_live(&stage).await;
    // A topic each: what is still on its way to the other node is not of the next round.
    for (broker, topic) in brokers.iter().zip(["live/a", "live/b"]) {
        let mut alice = Client::scoped(broker, &[topic], "alice");
        let mut none = Client::fresh(broker, &[topic]);
        alice.opened().await;
        none.opened().await;
        for n in 0..5 {
            let scoped = message(topic, format!("a{n}")).scope("alice");
            let outcome = within("an answer", brokers[0].publish_envelope(scoped)).await;
            assert!(matches!(outcome, Ok(Outcome::Live)), "{outcome:?}");
            send_to(&brokers[0], topic, &format!("u{n}")).await;
        }
        assert_eq!(alice.texts(5).await, ["a0", "a1", "a2", "a3", "a4"]);
        assert_eq!(none.texts(5).await, ["u0", "u1", "u2", "u3", "u4"]);
    }
}

/// A resume whose filters match live topics says so; its completeness speaks of the others.
pub async fn a_resume_of_live_topics_says_so(stage: Stage) {
    let (_nodes, brokers) = two_live(&stage).await;
    let start = publish(&brokers[0], message("kept", "0")).await;
    send(&brokers[0], "missed").await;
    publish(&brokers[0], message("kept", "1")).await;
    for broker in &brokers {
        for wanted in [&["live/a", "kept"][..], &["**"]] {
            let mut client = Client::resume(broker, wanted, start);
            let (replay, reconnected) = client.replay().await;
            assert_eq!(replay.reasons(), [GapReason::Live], "{wanted:?}");
            assert_eq!(replay.texts(), ["1"]);
            assert!(reconnected.complete, "complete of what is kept");
        }
        assert_eq!(Client::resume(broker, &["kept"], start).complete_replay().await, ["1"]);
    }
}

/// Live and retained messages to one subscriber, in what order they may be; none is lost or twice.
pub async fn live_and_retained_together(stage: Stage) {
    let (_nodes, brokers) = two_live(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["live/a", "kept"]);
    client.opened().await;
    for n in 0..20 {
        send(&brokers[0], &n.to_string()).await;
        publish(&brokers[0], message("kept", n.to_string())).await;
    }
    let (mut live, mut kept) = (Vec::new(), Vec::new());
    while live.len() + kept.len() < 40 {
        match client.next("forty messages").await {
            Some(Delivery::Message(message)) => {
                let list = if message.cursor().is_some() { &mut kept } else { &mut live };
                list.push(message.data().as_str().to_owned());
            }
            Some(Delivery::Cursor(_)) => {}
            other => panic!("messages, not {other:?}"),
        }
    }
    let all = (0..20).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(live, all);
    assert_eq!(kept, all);
}

async fn two_live(stage: &Stage) -> ([Node; 2], [Broker; 2]) {
    let rules = Retention::default().with_rule(filter("live/**"), Keep::live());
    let nodes = [stage.node_keeping(rules.clone()).await, stage.node_keeping(rules).await];
    let brokers = nodes.each_ref().map(Node::broker);
    (nodes, brokers)
}

#[track_caller]
fn send<'a>(broker: &'a Broker, text: &'a str) -> impl Future<Output = ()> + use<'a> {
    send_to(broker, "live/a", text)
}

#[track_caller]
fn send_to<'a>(
    broker: &'a Broker,
    topic: &'a str,
    text: &'a str,
) -> impl Future<Output = ()> + use<'a> {
    within("an answer", async move {
        let outcome = broker.publish_envelope(message(topic, text)).await;
        assert!(matches!(outcome, Ok(Outcome::Live)), "live, not {outcome:?}");
    })
}
