//! Waiting for something, never for a time.

use std::time::Duration;

/// How long anything may take before the test fails: a browser on a busy machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// Waits for `future`, and fails the test with what `why` says if that takes too long.
pub(crate) async fn within<F: Future>(future: F, why: impl FnOnce() -> String) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {}", why()),
    }
}
