//! Reads what was not pushed to this node and is wanted: the first entries of topics that only a
//! wildcard matches, and pushes that got lost.

use std::sync::Arc;

use tavern_backend::{FeedEvent, ReadQuery};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::inbound::Missing;
use crate::page;
use crate::shared::Shared;

/// Entries read at once.
const ENTRIES: usize = 1024;

/// Runs until the backend closes. What cannot be read here is found by counting, as any hole.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut missing: mpsc::Receiver<Missing>,
    feed: mpsc::Sender<Vec<FeedEvent>>,
    token: CancellationToken,
) {
    loop {
        let mut wanted = tokio::select! {
            wanted = missing.recv() => match wanted {
                Some(wanted) => wanted,
                None => return,
            },
            () = token.cancelled() => return,
        };
        while wanted.seqs.len() < ENTRIES
            && let Ok(more) = missing.try_recv()
        {
            if more.epoch != wanted.epoch {
                wanted = more;
                continue;
            }
            wanted.seqs.extend(more.seqs);
            for topic in more.topics.topics() {
                wanted.topics.insert(topic.clone().into());
            }
        }
        tokio::select! {
            () = fetch(&shared, wanted, &feed) => {}
            () = token.cancelled() => return,
        }
    }
}

async fn fetch(shared: &Shared, wanted: Missing, feed: &mpsc::Sender<Vec<FeedEvent>>) {
    let (Some(first), Some(last)) = (wanted.seqs.first(), wanted.seqs.last()) else { return };
    let Ok(session) = shared.session() else { return };
    let mut query = ReadQuery::range(first - 1, *last)
        .with_filters(Arc::new(wanted.topics))
        .with_limit(ENTRIES);
    while query.after < *last {
        let page = match page::read(shared, &session, &query).await {
            Ok(page) if page.epoch == wanted.epoch && page.to > query.after => page,
            Ok(_) => return,
            Err(failure) => {
                tracing::debug!(reason = %failure.reason, "missing entries cannot be read yet");
                return;
            }
        };
        query.after = page.to;
        let entries = page.entries.into_iter();
        let found: Vec<_> = entries
            .filter(|entry| wanted.seqs.contains(&entry.position.seq))
            .map(FeedEvent::Entry)
            .collect();
        if !found.is_empty() {
            // What finds no room is a hole, which the node finds by counting.
            let _ = feed.try_send(found);
        }
    }
}
