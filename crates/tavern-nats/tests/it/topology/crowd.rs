//! Nodes that publish all the while, and clients that must miss nothing of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tavern_backend::{Bus, Head, MessageEnvelope, ReadQuery};
use tavern_testkit::say::message;
use tavern_testkit::wait::with_patience;
use tavern_testkit::{Client, Node, publish_all};

use super::clustered::ClusterRig;

/// A cluster takes up to ten seconds for an election, and may hold another.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Messages that a node publishes at once, and lanes that it publishes them to.
const BATCH: usize = 12;
const LANES: usize = 3;

/// Two nodes publish, and the log is read, while `trouble` happens. Clients on both must see all of
/// it, each once, in the same order, which is that of the log, and no gap. Returns the log's head.
///
/// # Panics
///
/// If they do not.
pub(crate) async fn under_load(rig: &ClusterRig, trouble: impl AsyncFnOnce(&[Node; 2])) -> Head {
    with_patience(PATIENCE, load(rig, trouble)).await
}

async fn load(rig: &ClusterRig, trouble: impl AsyncFnOnce(&[Node; 2])) -> Head {
    let stage = rig.stage();
    let nodes = [stage.node().await, stage.node().await];
    let brokers = nodes.each_ref().map(|node| {
        // As it is outside of tests.
        node.broker_with(|config| config.repair_patience = Duration::from_secs(5))
    });
    let mut clients = brokers.each_ref().map(|broker| Client::fresh(broker, &["t/**"]));
    let start = clients[0].opened().await;
    clients[1].opened().await;

    let over = AtomicBool::new(false);
    let publishing = async |node: usize| {
        let (mut count, mut left) = (0, 5);
        while left > 0 {
            left -= usize::from(over.load(Ordering::Relaxed));
            publish_all(&brokers[node], (count..count + BATCH).map(|n| text(node, n)).collect())
                .await;
            count += BATCH;
            // Some hundred a second are enough.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        count
    };
    let reading = async {
        let mut pages = 0;
        while !over.load(Ordering::Relaxed) || pages == 0 {
            pages += read(nodes[pages % 2].bus()).await;
        }
    };
    let happening = async {
        // Once both have something to lose.
        while nodes[0].head().await.position.seq < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        trouble(&nodes).await;
        over.store(true, Ordering::Relaxed);
    };
    let (a, b, (), ()) = tokio::join!(publishing(0), publishing(1), reading, happening);

    let seen = join_all(clients.each_mut().map(async |client| {
        let mut seen = Vec::new();
        while seen.len() < a + b {
            let message = client.message().await;
            seen.push((message.topic().to_string(), message.data().as_str().to_owned()));
        }
        seen
    }))
    .await;
    assert!(seen[0] == seen[1], "both see the same order");
    let mut next = HashMap::<_, usize>::new();
    for (lane, text) in &seen[0] {
        let next = next.entry(lane).or_default();
        assert_eq!(text.parse(), Ok(*next), "the next of lane {lane}");
        *next += 1;
    }
    let texts: Vec<_> = seen[0].iter().map(|(_, text)| text.as_str()).collect();
    assert!(nodes[0].texts().await == texts, "the log has the same, and nothing twice");
    let mut late = Client::resume(&brokers[1], &["t/**"], start);
    assert!(late.complete_replay().await == texts, "who comes back sees the same");
    let head = nodes[1].head().await;
    stage.close().await;
    head
}

/// The `n`th message of a node: it says which of its lane it is.
fn text(node: usize, n: usize) -> MessageEnvelope {
    message(&format!("t/{node}/{}", n % LANES), (n / LANES).to_string())
}

/// Reads the log from its beginning, as far as that is possible now; of what is read nothing may be
/// missing. Returns the number of pages.
async fn read(bus: &Bus) -> usize {
    let (mut after, mut pages) = (0, 0);
    loop {
        match bus.read(ReadQuery::range(after, u64::MAX).with_limit(500)).await {
            Ok(page) => {
                pages += 1;
                let seqs: Vec<_> = page.entries.iter().map(|entry| entry.position.seq).collect();
                assert!(
                    seqs.iter().copied().eq(after + 1..=page.to),
                    "{after} {}: {seqs:?}",
                    page.to
                );
                after = page.to;
                if after >= page.head {
                    return pages;
                }
            }
            Err(error) => {
                assert!(error.is_transient(), "{error:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                return pages;
            }
        }
    }
}
