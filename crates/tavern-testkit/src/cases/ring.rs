//! Promise 8: bounded; and slow readers, who fall off the ring and lose nothing.

use tokio::task::JoinSet;

use super::history::keeping;
use super::order::increasing;
use crate::Stage;
use crate::client::{Client, publish, publish_all};
use crate::say::message;
use crate::wait::eventually;

/// A reader that is far behind goes on from history, without a gap, and catches up.
pub async fn a_slow_reader_goes_on_from_history(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let publisher = nodes[0].broker();
    let broker = nodes[1].broker_with(|config| config.ring_bytes = 32 << 10);
    let mut slow = Client::fresh(&broker, &["t/*"]);
    let mut slow_exact = Client::fresh(&broker, &["t/1"]);
    slow.opened().await;
    slow_exact.opened().await;
    let mut last = None;
    for block in 0..10 {
        let envelopes = (0..300).map(|n| {
            let n = block * 300 + n;
            message(&format!("t/{}", n % 3), format!("{n} {}", "x".repeat(100)))
        });
        last = publish_all(&publisher, envelopes.collect()).await.pop();
    }
    let last = last.expect("published").0.seq;
    eventually("the ring has seen it all", || {
        broker.status().watermark.is_some_and(|watermark| watermark >= last)
    })
    .await;
    let (mut messages, mut of_one) = (Vec::new(), Vec::new());
    while messages.len() < 3000 {
        messages.push(slow.message().await);
    }
    while of_one.len() < 1000 {
        of_one.push(slow_exact.message().await);
    }
    for (messages, step, first) in [(&messages, 1, 0), (&of_one, 3, 1)] {
        increasing(messages);
        for (n, message) in messages.iter().enumerate() {
            let text = message.data().as_str();
            assert!(text.starts_with(&format!("{} ", n * step + first)), "{n}: {text}");
        }
    }
    // The ring holds the last hundred or so: the rest are more than twenty pages of 128.
    let counters = broker.status().counters;
    assert!(counters.page_reads >= 20, "they were read from history: {counters:?}");
    // And they are live again.
    publish(&publisher, message("t/1", "live")).await;
    assert_eq!(slow.texts(1).await, ["live"]);
    assert_eq!(slow_exact.texts(1).await, ["live"]);
}

/// A reader so slow that history no longer has it either is told in place, and goes on.
pub async fn a_reader_slower_than_history_gets_a_gap(stage: Stage) {
    let nodes = [stage.node_keeping(keeping(20)).await, stage.node_keeping(keeping(20)).await];
    let publisher = nodes[0].broker();
    let broker = nodes[1].broker_with(|config| config.ring_bytes = 8 << 10);
    let mut slow = Client::fresh(&broker, &["t"]);
    slow.opened().await;
    publish(&publisher, message("t", "first")).await;
    assert_eq!(slow.texts(1).await, ["first"]);
    let envelopes = (0..1000).map(|n| message("t", format!("{n} {}", "x".repeat(100))));
    let last = publish_all(&publisher, envelopes.collect()).await.pop().expect("published");
    eventually("the ring has seen it all", || {
        broker.status().watermark.is_some_and(|watermark| watermark >= last.0.seq)
    })
    .await;
    let (mut expected, mut gaps, mut got) = (0, 0, 0);
    while expected < 1000 {
        match slow.next("messages, and gaps where some are missing").await {
            Some(tavern_broker::Delivery::Message(message)) => {
                let text = message.data().as_str();
                let n: u32 = text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
                assert!(n >= expected, "{n} again, or out of order");
                assert!(n == expected || gaps > 0, "{expected} is missing without a gap");
                (expected, got) = (n + 1, got + 1);
            }
            Some(tavern_broker::Delivery::Gap(_)) => gaps += 1,
            Some(_) => {}
            None => panic!("the stream goes on"),
        }
    }
    assert!(gaps > 0 && got < 1000, "{gaps} gaps, {got} of 1,000 messages");
}

/// Many clients with as many different cursors resume together: what is read are pages, not clients.
pub async fn hard_case_18_many_resumes_cost_pages(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let publisher = nodes[0].broker();
    let start = publish(&publisher, message("t", "start")).await;
    let envelopes = (0..1000).map(|n| message("t", n.to_string()));
    let mut cursors = vec![start];
    cursors.extend(publish_all(&publisher, envelopes.collect()).await);
    // It has seen nothing of this: all comes from history.
    let broker = nodes[1].broker();
    let before = nodes[1].cable().calls().read;
    let mut clients = JoinSet::new();
    for n in 0..300 {
        let (broker, from) = (broker.clone(), n * 3);
        let cursor = cursors[from];
        clients.spawn(async move {
            let texts = Client::resume(&broker, &["t"], cursor).complete_replay().await;
            assert!(
                texts == (from..1000).map(|n| n.to_string()).collect::<Vec<_>>(),
                "from {from}"
            );
        });
    }
    for ended in clients.join_all().await {
        ended
    }
    let reads = nodes[1].cable().calls().read - before;
    assert!(reads <= 100, "{reads} reads for 300 clients over 1,000 entries");
}

/// 300 clients of *different* topics and one cursor each: still bounded by the log they read.
pub async fn hard_case_18_many_topics_changed_little(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let publisher = nodes[0].broker();
    let broker = nodes[1].broker();
    let mut clients = Vec::new();
    for n in 0..1000 {
        clients.push(Client::fresh(&broker, &[&format!("t/{n}")]));
    }
    for client in &mut clients {
        client.opened().await;
    }
    nodes[1].cable().cut();
    for n in 0..12 {
        publish(&publisher, message(&format!("t/{}", n * 80), n.to_string())).await;
    }
    let before = nodes[1].cable().calls().read;
    nodes[1].cable().heal().await.expect("healed");
    for (n, client) in clients.iter_mut().step_by(80).take(12).enumerate() {
        assert_eq!(client.texts(1).await, [n.to_string()]);
    }
    let reads = nodes[1].cable().calls().read - before;
    assert!(reads <= 30, "{reads} reads for 12 changes among 1,000 topics");
}

/// The ring keeps to its bytes, whatever goes through it; a wildcard client gets it all.
pub async fn hard_case_19_the_ring_keeps_to_its_bytes(stage: Stage) {
    let nodes = [stage.node().await, stage.node().await];
    let publisher = nodes[0].broker();
    let budget: u32 = 256 << 10;
    let broker = nodes[1].broker_with(|config| config.ring_bytes = budget as usize);
    let mut client = Client::fresh(&broker, &["**"]);
    client.opened().await;
    let publishing = async {
        for block in 0..20 {
            let envelopes = (0..200).map(|n| {
                let n = block * 200 + n;
                // Many lanes, each with an index of its own.
                message(&format!("t/{}", n % 1500), format!("{n} {}", "x".repeat(n % 400)))
            });
            publish_all(&publisher, envelopes.collect()).await;
            let bytes = broker.status().counters.ring_bytes;
            assert!(bytes <= u64::from(budget), "{bytes} bytes in a ring of {budget}");
        }
    };
    let reading = async {
        for n in 0..4000 {
            let message = client.message().await;
            assert!(message.data().as_str().starts_with(&format!("{n} ")), "{n}: {message:?}");
        }
    };
    tokio::join!(publishing, reading);
    let counters = broker.status().counters;
    assert!(counters.ring_bytes <= u64::from(budget) && counters.ring_bytes > 0, "{counters:?}");
    assert!(counters.ring_frames < 4000, "the oldest went: {counters:?}");
}
