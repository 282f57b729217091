//! A hand on the cable: a node's link, to be broken on purpose.

use std::fmt;
use std::sync::Arc;

use super::node::Node;
use crate::FeedEvent;

/// A hand on a node's link to the log, for tests.
///
/// Everything works on this node only, and does nothing once it is closed.
#[derive(Clone)]
pub struct Cable {
    node: Arc<Node>,
}

impl fmt::Debug for Cable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cable").field("node", &self.node.info.node).finish_non_exhaustive()
    }
}

impl Cable {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Cuts the link: calls fail as [`Unavailable`](crate::Error::Unavailable), nothing is pushed,
    /// the feed and the health say so. The interest is restored when the link is
    /// [healed](Self::heal). Cutting again changes nothing.
    pub fn cut(&self) {
        let cut = {
            let mut state = self.node.engine.lock();
            match self.node.link(&mut state) {
                Ok(link) if link.up => {
                    link.up = false;
                    link.notify(FeedEvent::LinkLost { reason: Arc::from("the cable is cut") });
                    true
                }
                _ => false,
            }
        };
        if cut {
            self.node.health.set_down("the cable is cut");
        }
    }

    /// Heals the link: all interest is back, the feed and the health say so. Healing again changes
    /// nothing.
    pub fn heal(&self) {
        let healed = {
            let mut state = self.node.engine.lock();
            let head = state.log.head();
            match self.node.link(&mut state) {
                Ok(link) if !link.up => {
                    link.up = true;
                    link.notify(FeedEvent::LinkRestored { head });
                    true
                }
                _ => false,
            }
        };
        // Callbacks run in here: not under the lock.
        if healed {
            self.node.health.set_up();
        }
    }

    /// Loses the next `batches` that would be pushed to this node, with the link up: nothing says
    /// so but the missing seqs.
    pub fn lose_pushes(&self, batches: u64) {
        if let Ok(link) = self.node.link(&mut self.node.engine.lock()) {
            link.lose_pushes = batches;
        }
    }

    /// Loses the answers to this node's next `publishes`: they are done, and the caller gets
    /// [`OutcomeUnknown`](crate::Error::OutcomeUnknown).
    pub fn lose_answers(&self, publishes: u64) {
        if let Ok(link) = self.node.link(&mut self.node.engine.lock()) {
            link.lose_answers = publishes;
        }
    }

    /// How many messages were not pushed to this node because its queue was full, or because a test
    /// [lost](Self::lose_pushes) them.
    #[must_use]
    pub fn unpushed(&self) -> u64 {
        self.node.link(&mut self.node.engine.lock()).map_or(0, |link| link.unpushed)
    }
}
