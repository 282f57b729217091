//! What a connection is like.

use std::time::Duration;

/// One end of a connection, seen from the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Who connected: the node.
    Client,
    /// Who was connected to: the engine.
    Server,
}

/// What a connection is like. By default everything goes through at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions {
    /// What the client sends.
    pub to_server: Flow,
    /// What the server sends.
    pub to_client: Flow,
    /// How much later than it happened an end is told to the other side.
    pub late_end: Duration,
}

/// What one way of a connection is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// How much later bytes arrive; as many as were sent are on their way at once.
    pub delay: Duration,
    /// The most bytes in a second.
    pub rate: Option<u32>,
    /// Whether they arrive.
    pub pass: Pass,
}

/// Whether bytes arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pass {
    /// They do.
    #[default]
    Through,
    /// They wait where they are, and arrive when this ends: who sends too many has to wait, too.
    Held,
    /// They are taken, and arrive nowhere; an end or a reset does not, either.
    Vanishing,
}

impl Conditions {
    /// Everything arrives later by this.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self::both(Flow { delay, ..Flow::default() })
    }

    /// No more bytes go through in a second, each way.
    #[must_use]
    pub fn throttled(rate: u32) -> Self {
        Self::both(Flow { rate: Some(rate), ..Flow::default() })
    }

    /// Bytes wait, and arrive when this ends.
    #[must_use]
    pub fn held() -> Self {
        Self::both(Flow { pass: Pass::Held, ..Flow::default() })
    }

    /// The connection stays, and what is sent either way vanishes.
    #[must_use]
    pub fn black_hole() -> Self {
        Self::both(Flow { pass: Pass::Vanishing, ..Flow::default() })
    }

    /// The connection stays, and what is sent to `side` vanishes; what it sends arrives.
    #[must_use]
    pub fn deaf(side: Side) -> Self {
        let vanishing = Flow { pass: Pass::Vanishing, ..Flow::default() };
        match side {
            Side::Client => Self { to_client: vanishing, ..Self::default() },
            Side::Server => Self { to_server: vanishing, ..Self::default() },
        }
    }

    /// When one side ends the connection, the other hears of it later by this.
    #[must_use]
    pub fn slow_close(late_end: Duration) -> Self {
        Self { late_end, ..Self::default() }
    }

    fn both(flow: Flow) -> Self {
        Self { to_server: flow, to_client: flow, late_end: Duration::ZERO }
    }

    /// What is sent to `side`.
    pub(super) fn towards(&self, side: Side) -> &Flow {
        match side {
            Side::Client => &self.to_client,
            Side::Server => &self.to_server,
        }
    }
}
