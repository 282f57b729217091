use std::time::Duration;

use tavern_backend::{
    Append, Backend as _, Keep, MessageEnvelope, NodeId, Publication, Published, Retention,
};
use tavern_testkit::engine::{NatsFlavor, NatsServer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::connect::Connector;
use crate::link::Link;
use crate::{NatsBackend, NatsConfig};

async fn put(backend: &NatsBackend, from: u64, count: u64) {
    let publications = (from..from + count).map(|counter| Publication {
        key: Origin { node: backend.info().node, counter },
        envelope: MessageEnvelope::new(Topic::new("hot").unwrap(), "data"),
        accepted: Instant::now(),
    });
    let append = Append { known: None, publications: publications.collect() };
    let published = backend.publish(append).await.unwrap();
    assert!(published.iter().all(|p| matches!(p, Published::Stored(_))));
}

/// A lane is trimmed all the while by a node that no pushes reach goes through it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_while_it_is_scanned_is_told() {
    let server = NatsServer::start(NatsFlavor::Current).await.unwrap();
    let retention = Retention::default().with_default(Keep::new(100, Duration::ZERO));
    let config = NatsConfig::new("127.0.0.1", server.port()).with_retention(Some(retention));
    let publisher = NatsBackend::open(config.clone()).await.unwrap();
    put(&publisher, 1, 150).await;

    let connector = Connector::new(&config, "deaf".to_owned()).unwrap();
    let shared = Arc::new(Shared::new(config, NodeId::from_u64(1), connector));
    let (inbound, _held) = mpsc::channel(8);
    let (opened, open) = oneshot::channel();
    let token = CancellationToken::new();
    let link = Link::new(Arc::clone(&shared), inbound, token.clone());
    let tasks = tavern_backend::Tasks::new();
    tasks.spawn(link.run(opened));
    open.await.unwrap().unwrap();
    let session = shared.session().unwrap();

    let publishing = async {
        for n in 0..600 {
            put(&publisher, 1000 + n, 1).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let reading = async {
        loop {
            let view = shared.view().unwrap();
            let (rules, limits) = (Arc::clone(&view.retention), view.limits.clone());
            *shared.index() = Some(Index::new(0, view.lineage.epoch, rules, limits));
            let page = match read(&shared, &session, &ReadQuery::range(0, u64::MAX)).await {
                Ok(page) => page,
                // It gives up where the log runs away from it, and says so.
                Err(failure) => panic!("{}", failure.reason),
            };
            let floor = page.floors.iter().map(|floor| floor.seq).max().unwrap_or(0);
            let told = floor.max(page.horizon);
            let first = page.entries.first().map_or(page.to + 1, |entry| entry.position.seq);
            assert!(first <= told + 1, "{first} is the first, {told} is told as missing");
        }
    };
    tokio::select! {
        () = publishing => {}
        () = reading => {}
    }
    token.cancel();
    tasks.close().await;
    publisher.close().await.unwrap();
}
