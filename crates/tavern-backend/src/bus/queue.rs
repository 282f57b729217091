//! What waits for the reader of one subscription.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::subscription::{Missed, Received};
use crate::MessageEnvelope;

/// Messages that wait at most; one more place is for the gap that says how many did not fit.
pub(super) const CAPACITY: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Guards what is waiting together with who waits for it.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Received>,
    ended: bool,
    reader: Option<Waker>,
}

impl Queue {
    /// Adds a message, or counts it in a gap where there is no room for it.
    pub(super) fn push(&self, message: &MessageEnvelope) {
        let mut state = self.lock();
        if state.waiting.len() < CAPACITY {
            state.waiting.push_back(Received::Message(message.clone()));
        } else {
            state.gap(Missed::Overflow { messages: 1 });
        }
        state.wake();
    }

    /// Says that messages may be missing here.
    pub(super) fn gap(&self, missed: Missed) {
        let mut state = self.lock();
        state.gap(missed);
        state.wake();
    }

    /// Ends it: what waits can still be taken.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.wake();
    }

    /// The next, in order; `None` once it has ended and is empty.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Received>> {
        let mut state = self.lock();
        if let Some(received) = state.waiting.pop_front() {
            return Poll::Ready(Some(received));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gaps with nothing between them are one, so that a full queue grows by one place at most.
    fn gap(&mut self, missed: Missed) {
        match (self.waiting.back_mut(), missed) {
            (
                Some(Received::Gap(Missed::Overflow { messages })),
                Missed::Overflow { messages: more },
            ) => *messages = messages.saturating_add(more),
            // What may be missing besides is not told by a count.
            (Some(Received::Gap(before)), missed) => {
                if *before != missed {
                    *before = Missed::Unknown;
                }
            }
            (_, missed) => self.waiting.push_back(Received::Gap(missed)),
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
