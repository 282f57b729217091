//! Promises 1 and 2: increasing seq, the same on every node, each once.

use std::collections::HashMap;

use tavern_broker::{Broker, Message};
use tokio::task::JoinSet;

use super::log::{odd_data, odd_topics};
use crate::client::{Client, publish, publish_all};
use crate::say::{Also, message};
use crate::wait::within;
use crate::{Node, Stage};

/// Four publishers on two nodes: subscribers of both see one order, and each publisher's own.
pub async fn subscribers_of_every_node_see_the_same_order(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t"]));
    for client in &mut clients {
        client.opened().await;
    }
    let mut publishers = JoinSet::new();
    for publisher in 0..4 {
        let broker = brokers[publisher % 2].clone();
        publishers.spawn(async move {
            for n in 0..50 {
                publish(&broker, message("t", format!("{publisher}:{n}"))).await;
            }
        });
    }
    within("four publishers", publishers.join_all()).await;
    let mut orders = Vec::new();
    for client in &mut clients {
        let mut messages = Vec::new();
        while messages.len() < 200 {
            messages.push(client.message().await);
        }
        increasing(&messages);
        let mut next = HashMap::<String, u32>::new();
        for message in &messages {
            let (publisher, n) = message.data().as_str().split_once(':').expect("p:n");
            let expected = next.entry(publisher.to_owned()).or_default();
            assert_eq!(n, expected.to_string(), "publisher {publisher}'s own order");
            *expected += 1;
        }
        orders.push(messages.iter().map(Message::cursor).collect::<Vec<_>>());
    }
    assert!(orders[0] == orders[1], "the same entries at the same places on both nodes");
}

/// One subscriber of many topics sees them in the one order of the log.
pub async fn order_across_topics(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let wanted = ["a", "b/*", "c/**", "x/y/z"];
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &wanted));
    for client in &mut clients {
        client.opened().await;
    }
    let topics = ["a", "b/1", "no", "c", "c/d/e", "b/2", "b/2/no", "x/y/z", "c/1"];
    let mut expected = Vec::new();
    for n in 0..90 {
        let topic = topics[n % topics.len()];
        publish(&brokers[n % 2], message(topic, format!("{topic} {n}"))).await;
        if !topic.ends_with("no") {
            expected.push(format!("{topic} {n}"));
        }
    }
    for client in &mut clients {
        assert_eq!(client.texts(expected.len()).await, expected);
    }
}

/// What one caller hands over in a row lies in the log in a row.
pub async fn a_callers_publishes_keep_their_order(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    let all = (0..500).map(|n| n.to_string()).collect::<Vec<_>>();
    let envelopes = all.iter().map(|text| message("t", text.clone())).collect();
    let cursors = publish_all(&brokers[0], envelopes).await;
    assert!(cursors.is_sorted_by_key(|cursor| cursor.0.seq));
    assert_eq!(client.texts(500).await, all);
}

/// A message that matches several filters of a subscriber comes once.
pub async fn overlapping_filters_deliver_once(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["a/b", "a/*", "**", "a/b"]);
    client.opened().await;
    for n in 0..20 {
        publish(&brokers[n % 2], message("a/b", n.to_string())).await;
    }
    assert_eq!(client.texts(20).await, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// 10,000 topics: a wildcard hears them all, in order; a subscriber of one hears its own.
pub async fn ten_thousand_topics(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut all = Client::fresh(&brokers[1], &["t/**"]);
    let mut one = Client::fresh(&brokers[1], &["t/7777"]);
    all.opened().await;
    one.opened().await;
    let publishing = async {
        for block in 0..10 {
            let envelopes = (0..1000).map(|n| {
                let n = block * 1000 + n;
                message(&format!("t/{n}"), n.to_string())
            });
            publish_all(&brokers[0], envelopes.collect()).await;
        }
    };
    let reading = async {
        for n in 0..10_000 {
            assert_eq!(all.message().await.data().as_str(), n.to_string());
        }
        assert_eq!(one.texts(1).await, ["7777"]);
    };
    tokio::join!(publishing, reading);
}

/// Data of any kind comes through byte for byte, and its frame says the same.
pub async fn odd_data_is_delivered(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    let mut parser = tavern_sse::Parser::new();
    for text in odd_data() {
        publish(&brokers[0], message("t", text)).await;
        let message = client.message().await;
        assert_eq!(message.data().as_str(), text);
        let cursor = message.cursor().expect("a retained message").to_string();
        let items = parser.push(message.encoded()).collect::<Result<Vec<_>, _>>().expect("a frame");
        let [tavern_sse::Item::Block(block)] = items.as_slice() else {
            panic!("one block, not {items:?} for {text:?}");
        };
        // The format cannot tell line endings apart.
        let lines = text.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(block.data.as_deref(), Some(lines.as_str()));
        assert_eq!((block.id.as_deref(), block.event.as_deref()), (Some(cursor.as_str()), None));
    }
}

/// Every topic that the rules allow can be subscribed to, and is no other.
pub async fn odd_topics_are_delivered(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let topics = odd_topics();
    let mut clients = Vec::new();
    for topic in &topics {
        clients.push(Client::fresh(&brokers[1], &[topic]));
    }
    for client in &mut clients {
        client.opened().await;
    }
    let envelopes = topics.iter().chain(&topics).map(|topic| message(topic, topic.clone()));
    publish_all(&brokers[0], envelopes.collect()).await;
    for (topic, client) in topics.iter().zip(&mut clients) {
        // Twice its own: nothing of another came between.
        assert_eq!(client.texts(2).await, [topic.as_str(), topic.as_str()]);
    }
}

/// The largest message is delivered; one byte more is refused, and told so.
pub async fn the_largest_message_is_delivered(stage: Stage) {
    let (nodes, brokers) = two(&stage).await;
    let mut client = Client::fresh(&brokers[1], &["t"]);
    client.opened().await;
    let max = nodes[0].bus().info().max_payload;
    publish(&brokers[0], message("t", "m".repeat(max))).await;
    let over = brokers[0].publish_envelope(message("t", "m".repeat(max + 1)));
    match within("the answer to a message too large", over).await {
        Err(tavern_broker::Error::TooLarge { max: told, .. }) => assert_eq!(told, max),
        other => panic!("too large, not {other:?}"),
    }
    publish(&brokers[0], message("t", "after")).await;
    assert_eq!(client.message().await.data().len(), max);
    assert_eq!(client.message().await.data().as_str(), "after");
}

/// Event names, ids and scopes arrive on the other node; none but the publisher's are there.
pub async fn what_travels_with_a_message_arrives(stage: Stage) {
    let (_nodes, brokers) = two(&stage).await;
    let mut client = Client::scoped(&brokers[1], &["t"], "user:42");
    client.opened().await;
    let envelope = message("t", "x").scope("user:42").event("created").id("id 7");
    publish(&brokers[0], envelope.clone()).await;
    let message = client.message().await;
    assert_eq!(message.envelope(), &envelope);
    let frame = String::from_utf8_lossy(message.encoded()).into_owned();
    let cursor = message.cursor().expect("a cursor");
    assert_eq!(frame, format!("id: {cursor}~id 7\nevent: created\ndata: x\n\n"));
}

/// Two nodes with a broker each.
pub(crate) async fn two(stage: &Stage) -> ([Node; 2], [Broker; 2]) {
    let nodes = [stage.node().await, stage.node().await];
    let brokers = nodes.each_ref().map(Node::broker);
    (nodes, brokers)
}

/// Cursors grow from message to message.
#[track_caller]
pub(crate) fn increasing(messages: &[Message]) {
    let seqs = messages.iter().map(|m| m.cursor().expect("a retained message").0.seq);
    let seqs = seqs.collect::<Vec<_>>();
    assert!(seqs.is_sorted_by(|a, b| a < b), "seqs increase: {seqs:?}");
}
