//! The threads of a node: each is owned, and joined by `close`.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tavern_backend::{Error, Result};
use tokio::sync::mpsc;

#[derive(Debug)]
pub(crate) struct Threads {
    /// Guards only the list.
    handles: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// Ends when the last thread has dropped its side.
    ended: tokio::sync::Mutex<mpsc::Receiver<Infallible>>,
}

/// Starts threads; dropped when all are started.
#[derive(Debug)]
pub(crate) struct Starting {
    handles: Arc<Mutex<Vec<JoinHandle<()>>>>,
    alive: mpsc::Sender<Infallible>,
}

impl Threads {
    pub(crate) fn new() -> (Self, Starting) {
        let (alive, ended) = mpsc::channel(1);
        let handles = Arc::default();
        let starting = Starting { handles: Arc::clone(&handles), alive };
        (Self { handles, ended: tokio::sync::Mutex::new(ended) }, starting)
    }

    /// Waits until all threads have ended.
    pub(crate) async fn ended(&self) {
        // Nothing is ever sent, so this is the end of the last sender.
        let _ = self.ended.lock().await.recv().await;
        let handles =
            std::mem::take(&mut *self.handles.lock().unwrap_or_else(PoisonError::into_inner));
        for handle in handles {
            // What a thread does after it dropped its sender is to return.
            if handle.join().is_err() {
                tracing::error!("a thread of the SQLite backend panicked");
            }
        }
    }
}

impl Starting {
    pub(crate) fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let alive = self.alive.clone();
        let handle = std::thread::Builder::new()
            .name(format!("tavern-{name}"))
            .spawn(move || {
                work();
                drop(alive);
            })
            .map_err(|error| Error::unavailable_from("a thread could not be started", error))?;
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        Ok(())
    }
}
