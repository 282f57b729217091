//! What happens to the nodes, the engine and the ways between them.

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Some messages are published on one node.
    Publish,
    /// A client comes, or moves to another node.
    Connect,
    /// A client goes.
    Leave,
    /// A client reads slowly, or at once again.
    Pace,
    /// The way of a node changes.
    Weather,
    /// The link of a node is cut.
    Cut,
    /// A link comes back.
    Heal,
    /// The engine crashes, and may lose what is not durable.
    Crash,
    /// What was cut or went comes back.
    Return,
    /// The engine becomes another incarnation under its nodes' feet, and may lose its end.
    Failover,
    /// Another log is there instead.
    Replace,
    /// What was appended becomes durable.
    Sync,
    /// A process is killed.
    Kill,
    /// A process ends in good order.
    Close,
    /// A process starts.
    Start,
    /// The log's clock jumps.
    Jump,
    /// Nothing happens for long.
    Idle,
}

impl Trouble {
    /// All of it, with how often it happens.
    pub(super) const ALL: [(Self, u32); 17] = [
        (Self::Publish, 600),
        (Self::Connect, 60),
        (Self::Leave, 20),
        (Self::Pace, 15),
        (Self::Weather, 20),
        (Self::Cut, 12),
        (Self::Heal, 60),
        (Self::Crash, 3),
        (Self::Return, 60),
        (Self::Failover, 3),
        (Self::Replace, 1),
        (Self::Sync, 40),
        (Self::Kill, 4),
        (Self::Close, 3),
        (Self::Start, 30),
        (Self::Jump, 6),
        (Self::Idle, 4),
    ];
}
