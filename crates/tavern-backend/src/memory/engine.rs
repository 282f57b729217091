//! What the nodes of one log share: the log and the links to them, under one lock.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::MemoryConfig;
use super::clock::Clock;
use super::log::Log;
use super::node::{Link, Node, Outgoing};
use crate::number::random_u64;
use crate::{Epoch, LogTime, MemoryBackend, NodeId, Position};

/// The log that nodes of [`MemoryBackend`] share, cheap to clone.
#[derive(Clone)]
pub struct MemoryEngine {
    shared: Arc<Shared>,
}

struct Shared {
    config: MemoryConfig,
    clock: Clock,
    /// Guards the log together with the links, so that interest and pushes are ordered against
    /// appends. Held for plain work in memory only.
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) log: Log,
    pub(super) links: HashMap<NodeId, Link>,
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.lock().log.head();
        f.debug_struct("MemoryEngine").field("head", &head).finish_non_exhaustive()
    }
}

impl MemoryEngine {
    /// An empty log in its first epoch.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        let clock = Clock::start();
        let log = Log::new(config.clone(), Epoch::from_u64(random()), clock.now());
        let state = Mutex::new(State { log, links: HashMap::new() });
        Self { shared: Arc::new(Shared { config, clock, state }) }
    }

    /// A new node on the log, as after the start of a process.
    #[must_use]
    pub fn node(&self) -> MemoryBackend {
        let id = NodeId::from_u64(random());
        let (node, link) = Node::new(id, self.clone());
        self.lock().links.insert(id, link);
        MemoryBackend { node: Arc::new(node) }
    }

    /// Where the log ends.
    #[must_use]
    pub fn head(&self) -> Position {
        self.lock().log.head()
    }

    /// Makes the log lose everything above `seq`, behind the backs of its nodes, as a failover to a
    /// copy that was behind does. The next append, and nothing before it, opens a new epoch.
    pub fn rewind(&self, seq: u64) {
        let epoch = Epoch::from_u64(random());
        self.lock().log.rewind(seq, epoch);
    }

    pub(super) fn config(&self) -> &MemoryConfig {
        &self.shared.config
    }

    pub(super) fn now(&self) -> LogTime {
        self.shared.clock.now()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // What panics under the lock is a bug here, and no reason to fail every node from then on.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Pushes what `from` published to every node.
    pub(super) fn push(&mut self, from: NodeId, published: &[Outgoing]) {
        let epoch = self.log.head().epoch;
        for (node, link) in &mut self.links {
            link.push(*node == from, epoch, published);
        }
    }
}

/// A random number. A log in memory ends with its process, and no caller of its constructor should
/// have to handle a system without randomness, for which `RandomState` has an answer of its own.
fn random() -> u64 {
    random_u64().unwrap_or_else(|_| RandomState::new().hash_one(()))
}
