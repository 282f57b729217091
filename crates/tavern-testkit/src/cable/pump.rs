//! Carries pushes from the engine's feed to the node's, through the hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tavern_backend::{BusFeed, FeedEvent, HealthWatch};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Shared, WINDOW_WAITS};

/// Runs until the engine's feed ends, the node's reader is gone, or the cable is closed.
pub(super) async fn pump(
    shared: Arc<Shared>,
    mut feed: BusFeed,
    out: mpsc::Sender<Vec<FeedEvent>>,
    closed: CancellationToken,
) {
    loop {
        let batch = std::mem::take(&mut shared.state().ready);
        if !batch.is_empty() {
            tokio::select! {
                sent = out.send(batch) => if sent.is_err() { return },
                () = closed.cancelled() => return,
            }
            continue;
        }
        let window_is_open = shared.state().window_is_open();
        tokio::select! {
            () = closed.cancelled() => return,
            () = shared.wake.notified() => {}
            batch = feed.recv() => {
                let Some(batch) = batch else { return };
                let swallowed = shared.state().arrive(batch);
                shared.counts.swallowed.fetch_add(swallowed, Ordering::Relaxed);
            }
            () = tokio::time::sleep(WINDOW_WAITS), if window_is_open => {
                shared.state().flush_window();
            }
        }
    }
}

/// Shows the engine's own health through the cable.
pub(super) async fn mirror_health(
    shared: Arc<Shared>,
    mut inner: HealthWatch,
    closed: CancellationToken,
) {
    loop {
        let health = tokio::select! {
            () = closed.cancelled() => return,
            health = inner.changed() => health,
        };
        let Some(health) = health else { return };
        if health.closed {
            shared.health.set_closed();
        } else if !health.up {
            shared
                .health
                .set_down(health.reason.unwrap_or_else(|| Arc::from("the engine is away")));
        } else if shared.state().up {
            shared.health.set_up();
        }
    }
}
