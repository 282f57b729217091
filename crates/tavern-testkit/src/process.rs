//! A process that can stand still, played by a runtime with one thread.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A process that can stand still, as under SIGSTOP: a runtime with one thread for all it does, its
/// timers included.
#[derive(Debug)]
pub(crate) struct Process {
    runtime: Option<Runtime>,
}

impl Process {
    pub(crate) fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { runtime: Some(runtime.expect("a runtime")) }
    }

    fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.runtime.as_ref().expect("there until it is dropped").spawn(future)
    }

    /// Runs `future` in the process.
    pub(crate) async fn run<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        match self.spawn(future).await {
            Ok(output) => output,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Stands still from now on for `pause`.
    pub(crate) fn stand_still(&self, pause: Duration) -> impl Future<Output = ()> + use<> {
        let standing = self.spawn(async move {
            let (_sender, never) = std::sync::mpsc::channel::<()>();
            // Blocks the one thread on purpose; nothing is ever sent.
            assert!(never.recv_timeout(pause).is_err());
        });
        async move { standing.await.expect("it goes on") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for it would block the runtime that the case runs on.
            runtime.shutdown_background();
        }
    }
}
