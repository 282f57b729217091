//! Waiting for something, never for a time: each wait has an end and says what it waited for.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

/// How long a wait lasts before the case fails.
pub const PATIENCE: Duration = Duration::from_secs(15);

tokio::task_local! {
    static SHORTER: Duration;
}

/// Runs `case` with another patience than [`PATIENCE`]: a case that is expected to fail need not
/// take long about it.
pub async fn with_patience<F: Future>(patience: Duration, case: F) -> F::Output {
    SHORTER.scope(patience, case).await
}

/// The patience of this task.
#[must_use]
pub fn patience() -> Duration {
    SHORTER.try_with(|patience| *patience).unwrap_or(PATIENCE)
}

/// Waits for `future`.
///
/// # Panics
///
/// After [`patience`], naming `what` and the place that asked.
#[track_caller]
pub fn within<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> + use<F> {
    let (at, what) = (Location::caller(), what.to_owned());
    // Boxed: cases nest many of these, and a case's future would grow without bound.
    let future = Box::pin(future);
    async move {
        match tokio::time::timeout(patience(), future).await {
            Ok(output) => output,
            Err(_) => panic!("{at}: waited in vain: {what}"),
        }
    }
}

/// Waits until `ready` says so, asking again every few milliseconds.
///
/// # Panics
///
/// After [`patience`], naming `what` and the place that asked.
#[track_caller]
pub fn eventually<R>(what: &str, mut ready: R) -> impl Future<Output = ()> + use<R>
where
    R: FnMut() -> bool,
{
    within(what, async move {
        while !ready() {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    })
}
