//! Waiting for an answer, but not for ever.

use std::time::Duration;

/// Waits for `future` as long as `patience`, in slices: a pause of the process itself, after which
/// every timer is due at once, costs one slice and not all of it.
pub(crate) async fn in_time<F: Future>(patience: Duration, future: F) -> Option<F::Output> {
    const SLICES: u32 = 8;
    let mut future = std::pin::pin!(future);
    for _ in 0..SLICES {
        if let Ok(output) = tokio::time::timeout(patience / SLICES, &mut future).await {
            return Some(output);
        }
    }
    None
}
