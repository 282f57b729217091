//! Two nodes that publish and listen while their engine is hurt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tavern_backend::Tasks;

use crate::say::message;
use crate::wait::{eventually, within};
use crate::{Client, Node, Stage, publish_all};

/// Two nodes publish, `messages` each, each with a client; `hurt` comes in between, `times` times.
/// Both clients must get everything, once and in the same order, each publisher's messages in the
/// order it gave them.
///
/// # Panics
///
/// If they do not.
pub async fn a_stream_survives(
    stage: Stage,
    messages: u64,
    times: u64,
    hurt: impl AsyncFn(&[Node; 2]),
) {
    let nodes = [stage.node().await, stage.node().await];
    let brokers = [nodes[0].broker(), nodes[1].broker()];
    let mut clients =
        [Client::fresh(&brokers[0], &["t/*"]), Client::fresh(&brokers[1], &["t/0", "t/1"])];
    for client in &mut clients {
        client.opened().await;
    }
    let sent = Arc::new(AtomicU64::new(0));
    let tasks = Tasks::new();
    for (n, broker) in brokers.iter().enumerate() {
        let (broker, sent) = (broker.clone(), Arc::clone(&sent));
        tasks.spawn(async move {
            for at in (0..messages).step_by(10) {
                let ten = (at..at + 10).map(|m| message(&format!("t/{n}"), format!("{n}:{m}")));
                publish_all(&broker, ten.collect()).await;
                sent.fetch_add(10, Ordering::Relaxed);
            }
        });
    }
    for time in 1..=times {
        let begun = time * 2 * messages / (times + 1);
        eventually("some messages", || sent.load(Ordering::Relaxed) >= begun).await;
        hurt(&nodes).await;
    }
    let all = usize::try_from(2 * messages).expect("they fit into memory");
    let [one, two] = &mut clients;
    let (one, two) = tokio::join!(one.texts(all), two.texts(all));
    within("the publishers end", tasks.close()).await;
    assert_eq!(one, two, "the same order on both nodes");
    for n in 0..2 {
        let mine = format!("{n}:");
        let theirs: Vec<_> = one.iter().filter_map(|text| text.strip_prefix(&mine)).collect();
        assert_eq!(theirs, (0..messages).map(|m| m.to_string()).collect::<Vec<_>>());
    }
    stage.close().await;
}
