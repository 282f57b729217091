//! Where a case plays: nodes on one shared log, each behind its own cable.

mod node;

use std::sync::{Arc, Mutex, PoisonError};

use tavern_backend::{Bus, Keep, Retention};

use crate::faulty::Fault;
use crate::rig::DynRig;
use crate::wait::within;
use crate::{Cabled, Rig};

pub use node::Node;

/// Where a case plays: nodes on one shared log, each behind its own [`Cable`](crate::Cable).
#[derive(Debug, Clone)]
pub struct Stage {
    rig: Arc<dyn DynRig>,
    fault: Option<Fault>,
    /// All nodes ever opened; guards only the list.
    nodes: Arc<Mutex<Vec<Node>>>,
}

impl Stage {
    /// A stage on a fresh rig.
    #[must_use]
    pub fn new(rig: impl Rig) -> Self {
        Self { rig: Arc::new(rig), fault: None, nodes: Arc::default() }
    }

    /// The same stage, on which every backend is broken in one way: a case that is worth something
    /// fails on it for one fault at least.
    #[must_use]
    pub fn broken_by(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Opens a node that keeps much of every lane, for long.
    #[track_caller]
    pub fn node(&self) -> impl Future<Output = Node> + use<> {
        self.node_keeping(Retention::default().with_default(Keep::new(100_000, HOUR)))
    }

    /// Opens a node configured with these retention rules.
    ///
    /// # Panics
    ///
    /// If it cannot be opened.
    #[track_caller]
    pub fn node_keeping(&self, retention: Retention) -> impl Future<Output = Node> + use<> {
        let stage = self.clone();
        let opening = async move {
            let bus = stage.rig.open(retention).await.expect("the rig opens a node");
            let bus = match stage.fault {
                Some(fault) => Bus::new(fault.into_backend(bus)),
                None => bus,
            };
            let (cabled, cable) = Cabled::from_bus(bus);
            let node = Node::new(Bus::new(cabled), cable);
            node.bus().health().wait_up().await;
            stage.nodes.lock().unwrap_or_else(PoisonError::into_inner).push(node.clone());
            node
        };
        within("a node opens", opening)
    }

    /// Lets go of a node, for a case that drops it itself.
    pub fn forget(&self, node: &Node) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|other| other.bus().node() != node.bus().node());
    }

    /// Closes all nodes.
    #[track_caller]
    pub fn close(&self) -> impl Future<Output = ()> + use<> {
        let nodes = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        within("all nodes close", async move {
            for node in nodes {
                node.bus().close().await.expect("a node closes");
            }
        })
    }

    /// Closes all nodes and restarts the engine.
    ///
    /// # Panics
    ///
    /// If the engine does not restart.
    #[track_caller]
    pub fn restart(&self) -> impl Future<Output = ()> + use<> {
        let (rig, closing) = (Arc::clone(&self.rig), self.close());
        within("the engine restarts", async move {
            closing.await;
            rig.restart().await.expect("the engine restarts");
        })
    }

    /// Remembers the log as it is.
    ///
    /// # Panics
    ///
    /// If the rig cannot.
    #[track_caller]
    pub fn checkpoint(&self) -> impl Future<Output = ()> + use<> {
        let rig = Arc::clone(&self.rig);
        within("a checkpoint", async move { rig.checkpoint().await.expect("a checkpoint") })
    }

    /// Puts the log back to the last checkpoint, behind the backs of the nodes.
    ///
    /// # Panics
    ///
    /// If the rig cannot.
    #[track_caller]
    pub fn rewind(&self) -> impl Future<Output = ()> + use<> {
        let rig = Arc::clone(&self.rig);
        within("the log is rewound", async move { rig.rewind().await.expect("a rewind") })
    }
}

/// Longer than any case takes.
const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);
