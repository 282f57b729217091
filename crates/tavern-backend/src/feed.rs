//! The one inbound stream of a node.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{Entry, Epoch, Lane, MessageEnvelope, Origin, Position};

/// Something that arrived at this node.
///
/// A backend pushes what it gets as it gets it. Pushes may be lost, repeated or out of order: the
/// reader counts seqs, and reads what is missing from history. A backend only must not invent:
/// every seq below the log's head is an entry or was one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FeedEvent {
    /// An entry of the log.
    Entry(Arc<Entry>),
    /// Entries `from..=to` of `epoch` exist and match no interest of this node.
    Skip {
        /// The epoch the seqs count in.
        epoch: Epoch,
        /// The first seq.
        from: u64,
        /// The last seq.
        to: u64,
    },
    /// An entry is there and cannot be read by this version.
    Undecodable {
        /// Where it stands.
        position: Position,
        /// The lane it lies in, where that much can be told.
        lane: Option<Lane>,
        /// What is wrong with it, for the log.
        reason: Arc<str>,
    },
    /// A live message of another node: not in the log, delivered at most once.
    Live(LiveMessage),
    /// The link was lost: pushes may be missing from here on.
    LinkLost {
        /// Why, for a person.
        reason: Arc<str>,
    },
    /// The link is back and all interest is confirmed again; `head` was read after that.
    LinkRestored {
        /// The log's head.
        head: Position,
    },
}

/// A message of a live topic on its way.
#[derive(Debug, Clone)]
pub struct LiveMessage {
    /// The node that published it, and its count there.
    pub origin: Origin,
    /// The message.
    pub envelope: MessageEnvelope,
}

/// The receiving end of a node's feed: batches of events, in order of arrival.
#[derive(Debug)]
pub struct Feed {
    events: mpsc::Receiver<Vec<FeedEvent>>,
}

impl Feed {
    /// A feed and the sender a backend fills it with. `capacity` is in batches; what does not fit
    /// may be dropped by the backend, as it is found by counting.
    #[must_use]
    pub fn channel(capacity: usize) -> (mpsc::Sender<Vec<FeedEvent>>, Self) {
        let (sender, events) = mpsc::channel(capacity);
        (sender, Self { events })
    }

    /// The next batch; `None` once the backend is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Vec<FeedEvent>> {
        self.events.recv().await
    }
}
