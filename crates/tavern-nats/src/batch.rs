//! A caller's batch on its way, and its answer.

use std::collections::VecDeque;

use tavern_backend::{Origin, Publication, Published, Result};
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::resent::Unsettled;

/// A batch, and what is known of its messages by now.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Those that have not left.
    pub(crate) publications: VecDeque<Publication>,
    keys: Vec<Origin>,
    /// Where the log had got to when each left; none for those that have not, or were refused.
    left: Vec<Option<u64>>,
    published: Vec<Option<Published>>,
    /// Messages without an answer.
    open: usize,
    /// One of its messages was given to the connection.
    begun: bool,
    failure: Option<Failure>,
    reply: oneshot::Sender<Result<Vec<Published>>>,
}

impl Batch {
    pub(crate) fn new(
        publications: Vec<Publication>,
        reply: oneshot::Sender<Result<Vec<Published>>>,
    ) -> Self {
        Self {
            keys: publications.iter().map(|new| new.key).collect(),
            left: vec![None; publications.len()],
            published: vec![None; publications.len()],
            open: publications.len(),
            publications: publications.into(),
            begun: false,
            failure: None,
            reply,
        }
    }

    /// The place of the message that was taken out last.
    pub(crate) fn slot(&self) -> usize {
        self.published.len() - self.publications.len() - 1
    }

    /// A message was given to the connection.
    pub(crate) fn left(&mut self, slot: usize, reached: u64) {
        self.begun = true;
        self.left[slot] = Some(reached);
    }

    pub(crate) fn give(&mut self, slot: usize, published: Published) {
        if self.published[slot].replace(published).is_none() {
            self.open -= 1;
        }
    }

    /// The server refused a message: nothing of it was stored, unless that is in doubt.
    pub(crate) fn refuse(&mut self, slot: usize, failure: Failure) {
        if !failure.unknown {
            self.left[slot] = None;
        }
        self.failure.get_or_insert(failure);
        self.open -= 1;
    }

    /// Nothing of it is on its way any more.
    pub(crate) fn is_done(&self) -> bool {
        self.open == 0 && self.publications.is_empty()
    }

    /// Keeps what is known of its messages for when it is sent again.
    pub(crate) fn note(&self, unsettled: &mut Unsettled) {
        for ((key, left), published) in self.keys.iter().zip(&self.left).zip(&self.published) {
            // What the log was found to have did not leave again.
            if let Some(left_at) = left.or(published.as_ref().map(|_| u64::MAX)) {
                unsettled.note(*key, left_at, published.clone());
            }
        }
    }

    /// Answers, for all that has no answer yet with `failure`.
    pub(crate) fn answer(self, failure: Option<&Failure>) {
        let stored = self
            .published
            .iter()
            .any(|published| matches!(published, Some(Published::Stored(_) | Published::Live)));
        // One that was refused has an answer; one that left and has none may be stored by now.
        let in_doubt = stored || self.begun && self.open > self.publications.len();
        let failure = match (self.failure, failure) {
            // A part of it is stored: sent again, that part is a duplicate.
            (Some(failure), _) if in_doubt => Some(failure.in_doubt()),
            (Some(failure), _) => Some(failure),
            (None, Some(_)) if self.open == 0 => None,
            (None, Some(failure)) if self.begun => Some(failure.clone().in_doubt()),
            (None, failure) => failure.cloned().map(Failure::undone),
        };
        let answer = match failure {
            Some(failure) => Err(failure.to_write_error()),
            None => Ok(self.published.into_iter().flatten().collect()),
        };
        // Who does not wait any more needs no answer.
        let _ = self.reply.send(answer);
    }
}

#[cfg(test)]
mod tests;
