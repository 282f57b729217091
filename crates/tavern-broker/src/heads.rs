//! Asking the log for its head, once for all who ask at the same time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tavern_backend::{Bus, Error, Head};
use tokio::time::Instant;

use crate::clock::LogClock;
use crate::counters::Tallies;
use crate::extent::Extent;
use crate::patience::in_time;

type Answer = Result<Arc<Head>, Arc<Error>>;
type Question = BoxFuture<'static, Answer>;

/// Shared calls of [`Bus::head`]. An answer is only given to who asked before the call began, so
/// that it is never older than the question.
#[derive(Debug, Clone)]
pub(crate) struct Heads {
    bus: Bus,
    clock: Arc<LogClock>,
    extent: Arc<Extent>,
    tallies: Arc<Tallies>,
    /// How long the log is given to answer: one call that hangs holds nobody up for good.
    patience: Duration,
    calls: Arc<Mutex<Calls>>,
}

/// Held by those who wait for them: a call that nobody waits for ends.
#[derive(Debug, Default)]
struct Calls {
    running: Option<WeakShared<Question>>,
    next: Option<WeakShared<Question>>,
    /// When the log answered last, whoever had asked.
    answered: Option<Instant>,
}

impl Heads {
    pub(crate) fn new(
        bus: Bus,
        clock: Arc<LogClock>,
        extent: Arc<Extent>,
        tallies: Arc<Tallies>,
        patience: Duration,
    ) -> Self {
        Self { bus, clock, extent, tallies, patience, calls: Arc::default() }
    }

    /// The head, as asked after this call.
    pub(crate) async fn now(&self) -> Answer {
        let call = {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let upgrade =
                |call: &Option<WeakShared<_>>| call.as_ref().and_then(WeakShared::upgrade);
            upgrade(&calls.next).unwrap_or_else(|| {
                let call = self.call_after(upgrade(&calls.running));
                calls.next = call.downgrade();
                call
            })
        };
        call.await
    }

    /// When the log answered last, whoever had asked.
    pub(crate) fn answered(&self) -> Option<Instant> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).answered
    }

    fn call_after(&self, before: Option<Shared<Question>>) -> Shared<Question> {
        let Self { bus, clock, extent, tallies, patience, calls } = self.clone();
        async move {
            if let Some(before) = before {
                // Its failure is told to who asked for it.
                drop(before.await);
            }
            {
                let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
                calls.running = calls.next.take();
            }
            tallies.head_reads.one();
            let asked = Instant::now();
            let head = in_time(patience, bus.head()).await.unwrap_or_else(|| {
                Err(Error::unavailable("the log does not say where it ends: no answer"))
            })?;
            clock.learn(head.now, asked);
            extent.heard(head.position);
            calls.lock().unwrap_or_else(PoisonError::into_inner).answered = Some(Instant::now());
            Ok(Arc::new(head))
        }
        .boxed()
        .shared()
    }
}
