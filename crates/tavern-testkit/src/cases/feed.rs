//! What a backend pushes.

use tavern_backend::{Keep, Published, Received, Retention};
use tokio::task::JoinSet;

use crate::say::{Also, filter, message};
use crate::wait::within;
use crate::{Listener, Stage};

/// A subscription to one topic begins with what comes first, and with no gap.
pub async fn a_topics_subscription_begins_without_a_gap(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let mut t = within("a subscription", other.bus().subscribe("t")).await.expect("a subscription");
    for n in 0..4 {
        node.store(message("t", n.to_string())).await;
        let first = within("a message", t.recv()).await;
        assert_eq!(first, Some(Received::Message(message("t", n.to_string()))));
    }
}

/// Once interest is confirmed at head P, everything above P that matches is pushed as an entry:
/// 10,000 times interest on one node, then a publish on the other.
pub async fn interest_is_confirmed_ten_thousand_times(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let mut listener = Listener::new(other.bus());
    // In waves, so that an engine that drops what its reader is too slow for drops nothing.
    for wave in 0..100 {
        let mut racers = JoinSet::new();
        for racer in 0..100 {
            let (node, other) = (node.clone(), other.clone());
            racers.spawn(async move {
                let topic = format!("race/{wave}/{racer}");
                let interest = [filter(&topic)];
                let head = other.bus().add_interest(&interest).await.expect("interest");
                let position = node.store(message(&topic, "after")).await;
                assert!(position.seq > head.seq, "the head is older than what comes after");
                (position.seq, topic)
            });
        }
        for (seq, topic) in within("a wave of 100 races", racers.join_all()).await {
            listener.until_seq(seq).await;
            let entry = listener.entries.get(&seq);
            let pushed = entry.map(|e| e.envelope().topic.as_str());
            assert_eq!(pushed, Some(topic.as_str()), "seq {seq} is pushed as the entry it is");
        }
    }
}

/// A wildcard's interest covers a topic that nobody has seen before.
pub async fn a_wildcard_hears_of_new_topics(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let mut listener = Listener::new(other.bus());
    let wild = [filter("orders/**"), filter("*/new")];
    within("interest", other.bus().add_interest(&wild)).await.expect("interest");
    for topic in ["orders/7", "orders", "orders/7/lines", "stock/new"] {
        node.store(message(topic, topic)).await;
    }
    listener.until_seq(4).await;
    let topics = listener.entries.values().map(|e| e.envelope().topic.to_string());
    assert_eq!(topics.collect::<Vec<_>>(), ["orders/7", "orders", "orders/7/lines", "stock/new"]);
}

/// Each seq reaches the feed, as an entry or a skip; a node's own entries too.
pub async fn every_seq_reaches_the_feed(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let mut listener = Listener::new(node.bus());
    within("interest", node.bus().add_interest(&[filter("mine")])).await.expect("interest");
    for n in 1..=60_u64 {
        let publisher = if n % 2 == 0 { &node } else { &other };
        let topic = if n % 3 == 0 { "mine" } else { "other" };
        publisher.store(message(topic, n.to_string())).await;
    }
    listener
        .until("all sixty seqs", |l| {
            (1..=60).all(|n| l.entries.contains_key(&n) || l.skipped.contains(&n))
        })
        .await;
    for n in (3..=60).step_by(3) {
        assert!(listener.entries.contains_key(&n), "seq {n} matches and is an entry");
    }
}

/// Interest asked for twice is interest.
pub async fn interest_twice_is_interest(stage: Stage) {
    let (node, other) = (stage.node().await, stage.node().await);
    let mut listener = Listener::new(other.bus());
    for _ in 0..2 {
        within("interest", other.bus().add_interest(&[filter("t")])).await.expect("interest");
    }
    let never = [filter("never/asked")];
    let nothing = within("no interest", other.bus().remove_interest(&never)).await;
    nothing.expect("taking out what was never there is fine");
    node.store(message("t", "x")).await;
    listener.until_seq(1).await;
    assert!(listener.entries.contains_key(&1), "an entry, not a skip");
}

/// A live message reaches the other nodes once, in its publisher's order, never the publisher.
pub async fn no_echo_on_live_topics(stage: Stage) {
    let live = Retention::default().with_rule(filter("live/**"), Keep::live());
    let nodes = [
        stage.node_keeping(live.clone()).await,
        stage.node_keeping(live.clone()).await,
        stage.node_keeping(live).await,
    ];
    let mut listeners = nodes.each_ref().map(|node| Listener::new(node.bus()));
    for node in &nodes {
        within("interest", node.bus().add_interest(&[filter("live/*")])).await.expect("interest");
    }
    let before = nodes[0].head().await.position;
    for n in 0..20 {
        let publication = nodes[0].publication(message("live/a", n.to_string()).scope("s"));
        assert_eq!(nodes[0].append(vec![publication]).await, [Published::Live]);
    }
    // A live message of another node, behind them, ends the wait on every node.
    let marker = nodes[1].publication(message("live/a", "marker"));
    nodes[1].append(vec![marker]).await;
    let marked = |l: &Listener| l.live_texts().contains(&"marker");
    let all = (0..20).map(|n| n.to_string()).collect::<Vec<_>>();
    listeners[1].until("20 live messages", |l| l.live.len() >= 20).await;
    listeners[2].until("the marker", |l| marked(l) && l.live.len() >= 21).await;
    listeners[0].until("the marker", marked).await;
    assert_eq!(listeners[1].live_texts(), all, "once, in order, and not its own marker");
    let of_first = listeners[2].live.iter().filter(|l| l.origin.node == nodes[0].bus().node());
    let of_first = of_first.map(|l| l.envelope.data.as_str().to_owned());
    assert_eq!(of_first.collect::<Vec<_>>(), all, "once, in order");
    assert_eq!(listeners[0].live_texts(), ["marker"], "no echo");
    assert!(listeners[1].live.iter().all(|l| l.envelope.scope.is_some()), "the scope is kept");
    assert_eq!(nodes[2].head().await.position, before, "live messages take no seq");
}
