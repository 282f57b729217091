//! Which faults happen when: made from a seed, so that it can be played again.

use std::fmt;
use std::time::Duration;

use crate::proxy::Side;

/// What hubs may stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file shared by the hubs.
    Sqlite,
    /// One Redis, which writes down what it acknowledges.
    Redis,
    /// One NATS with JetStream.
    Nats,
    /// One Postgres.
    Postgres,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sqlite, Self::Redis, Self::Nats, Self::Postgres];

    /// Its scheme.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::Postgres => "postgres",
        }
    }

    /// What can happen to hubs on it.
    #[must_use]
    pub fn faults(self) -> Vec<Fault> {
        let hubs = [Fault::HubKilled, Fault::HubStopped];
        let network = [
            Fault::Delay,
            Fault::Throttle,
            Fault::Held,
            Fault::Cut,
            Fault::Reset,
            Fault::HalfOpen(Side::Client),
            Fault::HalfOpen(Side::Server),
            Fault::BlackHole,
            Fault::Deaf,
            Fault::SlowClose,
            Fault::Killed,
            Fault::Stopped,
            Fault::Restarted,
        ];
        let network = network.into_iter();
        match self {
            Self::Sqlite => [Fault::Locked].into_iter().chain(hubs).collect(),
            Self::Redis | Self::Nats => network.chain([Fault::DeafFeed]).chain(hubs).collect(),
            Self::Postgres => network.chain(hubs).collect(),
        }
    }
}

/// What can happen. All but what ends at once lasts for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// All bytes between hubs and engine come 150 ms later.
    Delay,
    /// 64 KiB a second go through each connection.
    Throttle,
    /// Nothing goes through, and all of it in the end.
    Held,
    /// All connections are ended.
    Cut,
    /// All connections are reset.
    Reset,
    /// All connections are ended towards one side, and the other is not told.
    HalfOpen(Side),
    /// Connections stay, and what is sent vanishes.
    BlackHole,
    /// The same, but only for what is sent to the hubs.
    Deaf,
    /// The same, but only for what is sent to the hubs on the connections of their feeds.
    DeafFeed,
    /// The engine is killed, and hubs hear of it two seconds later.
    SlowClose,
    /// The engine is killed with -9, and started again.
    Killed,
    /// The engine stands still, as under SIGSTOP.
    Stopped,
    /// The engine is ended in order, and started again.
    Restarted,
    /// Somebody holds the lock for which writers queue, as a process does that stands still.
    Locked,
    /// A hub is killed with -9, and started again.
    HubKilled,
    /// A hub stands still, as under SIGSTOP.
    HubStopped,
}

impl Fault {
    /// How long it lasts at least and at most, in milliseconds.
    const fn span(self) -> (u64, u64) {
        match self {
            Self::Cut | Self::Reset => (0, 1),
            Self::Delay | Self::Throttle => (1_000, 5_000),
            Self::Killed | Self::Restarted | Self::HubKilled => (50, 4_000),
            Self::HubStopped => (300, 3_000),
            Self::SlowClose => (2_100, 4_000),
            _ => (500, 7_000),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Delay => "150 ms later",
            Self::Throttle => "64 KiB a second",
            Self::Held => "held, then let go",
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::HalfOpen(Side::Client) => "half open, hubs told",
            Self::HalfOpen(Side::Server) => "half open, hubs not told",
            Self::BlackHole => "black hole",
            Self::Deaf => "black hole to the hubs",
            Self::DeafFeed => "black hole to the feeds",
            Self::SlowClose => "kill -9, heard late",
            Self::Killed => "kill -9",
            Self::Stopped => "SIGSTOP",
            Self::Restarted => "restart",
            Self::Locked => "write lock held",
            Self::HubKilled => "hub: kill -9",
            Self::HubStopped => "hub: SIGSTOP",
        })
    }
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Nothing happens for so long before it.
    pub calm: Duration,
    /// What happens.
    pub fault: Fault,
    /// For how long.
    pub lasts: Duration,
    /// To which hub, where it happens to one.
    pub hub: usize,
}

/// What happens, in order: each begins when the one before is over and the hubs are ready again.
///
/// The same engine, hubs, time and seed make the same plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// A plan for so many hubs on this engine, for this time: everything that can happen once, in an
    /// order of the seed's, and then again, in another one. As hubs need time to recover, no run
    /// gets to its end before its time is over.
    #[must_use]
    pub fn new(engine: Engine, hubs: usize, time: Duration, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut steps, mut left) = (Vec::new(), time);
        while !left.is_zero() {
            let mut faults = engine.faults();
            rng.shuffle(&mut faults);
            for fault in faults {
                let (least, most) = fault.span();
                let mut lasts = Duration::from_millis(rng.u64(least..most));
                if rng.u8(0..10) == 0 {
                    lasts *= 3;
                }
                let calm = Duration::from_millis(rng.u64(1_200..3_000));
                left = left.saturating_sub(calm + lasts);
                steps.push(Step { calm, fault, lasts, hub: rng.usize(0..hubs) });
            }
        }
        Self { steps }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let Step { calm, fault, lasts, hub } = step;
            write!(
                f,
                "after {:5.1} s {fault:<24} for {:4.1} s",
                calm.as_secs_f64(),
                lasts.as_secs_f64()
            )?;
            if matches!(fault, Fault::HubKilled | Fault::HubStopped) {
                write!(f, ", hub {hub}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
