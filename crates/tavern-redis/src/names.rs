//! Names of keys and channels, and of lanes in them.

use tavern_backend::{Lane, NodeId, Scope, Topic};

/// The names of a namespace. All share one hash tag, so that a cluster keeps them in one slot.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// `{tavern:NAMESPACE}:`
    prefix: String,
}

/// The keys of one log. Their names carry the log's id: what is left of a log that was lost can
/// never be taken for a part of its successor.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Names {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { prefix: format!("{{tavern:{namespace}}}:") }
    }

    /// The hash that says which log it is and where it stands.
    pub(crate) fn meta(&self) -> String {
        format!("{}meta", self.prefix)
    }

    /// The channel every node holds.
    pub(crate) fn spine(&self) -> String {
        format!("{}spine", self.prefix)
    }

    /// The channel of all live messages, which nodes with wildcards hold.
    pub(crate) fn live(&self) -> String {
        format!("{}live", self.prefix)
    }

    /// The channel of a topic.
    pub(crate) fn topic(&self, topic: &str) -> String {
        format!("{}t:{topic}", self.prefix)
    }

    pub(crate) fn keys(&self, log: &str) -> Keys {
        Keys { prefix: format!("{}{log}:", self.prefix) }
    }
}

impl Keys {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Sorted set: lane → its last seq.
    pub(crate) fn lanes(&self) -> String {
        self.key("lanes")
    }

    /// Sorted set of all lanes by name, to find the scopes of a topic.
    pub(crate) fn names(&self) -> String {
        self.key("names")
    }

    /// Sorted set: lane with nothing left in it → since when.
    pub(crate) fn silent(&self) -> String {
        self.key("silent")
    }

    /// Stream: which seqs lie in which lanes, a batch an entry.
    pub(crate) fn spine(&self) -> String {
        self.key("spine")
    }

    /// Sorted set: node → when it last published.
    pub(crate) fn origins(&self) -> String {
        self.key("origins")
    }

    /// Sorted set: the keys of what a node published.
    pub(crate) fn origin(&self, node: NodeId) -> String {
        self.key(&format!("keys:{node}"))
    }

    /// Who sweeps.
    pub(crate) fn sweeper(&self) -> String {
        self.key("sweeper")
    }

    /// Stream: the entries of a lane, `seq-time`.
    pub(crate) fn stream(&self, lane: &str) -> String {
        self.key(&format!("lane:{lane}"))
    }

    /// Hash: the publisher's ids in a lane.
    pub(crate) fn ids(&self, lane: &str) -> String {
        self.key(&format!("ids:{lane}"))
    }

    /// List: the same ids in the order they came.
    pub(crate) fn order(&self, lane: &str) -> String {
        self.key(&format!("order:{lane}"))
    }
}

/// What a lane is called in keys: its topic, and its scope behind a line feed, which neither has.
pub(crate) fn lane_name(topic: &Topic, scope: Option<&Scope>) -> String {
    match scope {
        None => topic.as_str().to_owned(),
        Some(scope) => format!("{topic}\n{scope}"),
    }
}

/// The lane of a name.
pub(crate) fn parse_lane(name: &[u8]) -> Option<Lane> {
    let text = std::str::from_utf8(name).ok()?;
    let (topic, scope) = match text.split_once('\n') {
        None => (text, None),
        Some((topic, scope)) => (topic, Some(Scope::new(scope).ok()?)),
    };
    Some(Lane { topic: Topic::new(topic).ok()?, scope })
}
