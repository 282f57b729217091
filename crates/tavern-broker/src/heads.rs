//! Asking the log for its head, once for all who ask at the same time.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tavern_backend::{Bus, Error, Head};
use tokio::time::Instant;

use crate::clock::LogClock;
use crate::extent::Extent;

type Answer = Result<Arc<Head>, Arc<Error>>;
type Call = Shared<BoxFuture<'static, Answer>>;

/// Shared calls of [`Bus::head`]. An answer is only given to who asked before the call began, so
/// that it is never older than the question.
#[derive(Debug, Clone)]
pub(crate) struct Heads {
    bus: Bus,
    clock: Arc<LogClock>,
    extent: Arc<Extent>,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Debug, Default)]
struct Calls {
    running: Option<Call>,
    next: Option<Call>,
}

impl Heads {
    pub(crate) fn new(bus: Bus, clock: Arc<LogClock>, extent: Arc<Extent>) -> Self {
        Self { bus, clock, extent, calls: Arc::default() }
    }

    /// The head, as asked after this call.
    pub(crate) async fn now(&self) -> Answer {
        let call = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            if calls.next.is_none() {
                calls.next = Some(self.call_after(calls.running.clone()));
            }
            calls.next.clone()
        };
        match call {
            Some(call) => call.await,
            None => Err(Arc::new(Error::Closed)),
        }
    }

    fn call_after(&self, before: Option<Call>) -> Call {
        let Self { bus, clock, extent, calls } = self.clone();
        async move {
            if let Some(before) = before {
                // Its failure is told to who asked for it.
                drop(before.await);
            }
            {
                let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
                calls.running = calls.next.take();
            }
            let asked = Instant::now();
            let head = bus.head().await.map_err(Arc::new)?;
            clock.learn(head.now, asked);
            extent.heard(head.position);
            Ok(Arc::new(head))
        }
        .boxed()
        .shared()
    }
}
