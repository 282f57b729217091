//! What can be set.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tavern_backend::{Error, Result, Retention};

/// How to find the server that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Topology {
    /// The first of the addresses that answers and is a primary.
    #[default]
    Single,
    /// The addresses are those of Sentinels; [`RedisConfig::sentinel_master`] is the name they know.
    Sentinel,
    /// The addresses are those of some nodes of a cluster. A namespace lives in one slot.
    Cluster,
}

/// What an accepted message survives, beyond what the server's own persistence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Accepted by the primary. What it keeps over a restart is up to its persistence, and a
    /// failover may lose the last moments; clients are told then.
    #[default]
    Primary,
    /// Acknowledged by so many replicas as well (`WAIT`). A publication that is not acknowledged in
    /// time is stored all the same, has an unknown outcome, and is sent again under its key.
    Replicas {
        /// How many.
        replicas: u8,
        /// For how long to wait for them.
        timeout: Duration,
    },
}

/// User and password of an ACL; either may be missing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; `None` for the server's default user.
    pub username: Option<String>,
    /// The password. Never printed.
    pub password: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .finish()
    }
}

/// TLS: the certificates are PEM files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// Authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// This client's certificate and key, where the server asks for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How a [`RedisBackend`](crate::RedisBackend) is set up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisConfig {
    /// Hosts and ports.
    pub addresses: Vec<(String, u16)>,
    /// What the addresses are.
    pub topology: Topology,
    /// The name of the primary, for [`Topology::Sentinel`].
    pub sentinel_master: Option<String>,
    /// For the servers.
    pub credentials: Credentials,
    /// For the Sentinels, which have users of their own.
    pub sentinel_credentials: Credentials,
    /// The database number; 0 by default, and nothing else in a cluster.
    pub database: u32,
    /// TLS, for the servers and the Sentinels; none by default.
    pub tls: Option<Tls>,
    /// The namespace: all its keys begin with `{tavern:NAMESPACE}`.
    pub namespace: String,
    /// The retention rules of a log that is created; `None` for the defaults. A log that exists has
    /// its own, which win.
    pub retention: Option<Retention>,
    /// Writes [`RedisConfig::retention`] into a log whose rules differ, for all its nodes.
    pub apply_retention: bool,
    /// What an accepted message survives.
    pub durability: Durability,
    /// Work with a server that may evict keys when its memory is full (`maxmemory-policy allkeys-…`):
    /// what it evicts of the log becomes a gap, and a publication whose key or id it has evicted is
    /// not known as a duplicate any more. Refused by default.
    pub allow_eviction: bool,
    /// The largest message, in bytes of data: 1 MiB by default.
    pub max_payload: usize,
    /// How long the key of a publication, and an id whose entry is gone, are remembered: 10 minutes
    /// by default, 5 at least.
    pub dedup_window: Duration,
    /// After how much silence an empty lane is forgotten, its last seq kept in the horizon: a day by
    /// default.
    pub lane_memory: Duration,
    /// How long an answer may take before the link counts as broken: 5 s by default.
    pub timeout: Duration,
    /// How often an idle link is asked whether it still works: 2 s by default. A link that is cut
    /// in silence is noticed after this and [`RedisConfig::timeout`].
    pub ping_interval: Duration,
    /// The longest wait between two attempts to connect: 1 s by default; the first come faster.
    pub reconnect_max: Duration,
    /// How often this node looks for what is too old: 5 s by default.
    pub sweep_interval: Duration,
    /// What the connections are called in `CLIENT LIST`, before the node's id.
    pub client_name: String,
}

impl RedisConfig {
    /// The defaults, on one server.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            addresses: vec![(host.into(), port)],
            topology: Topology::Single,
            sentinel_master: None,
            credentials: Credentials::default(),
            sentinel_credentials: Credentials::default(),
            database: 0,
            tls: None,
            namespace: "default".to_owned(),
            retention: None,
            apply_retention: false,
            durability: Durability::default(),
            allow_eviction: false,
            max_payload: 1 << 20,
            dedup_window: Duration::from_secs(600),
            lane_memory: Duration::from_secs(24 * 3600),
            timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(2),
            reconnect_max: Duration::from_secs(1),
            sweep_interval: Duration::from_secs(5),
            client_name: "tavern".to_owned(),
        }
    }

    /// The same with another namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The same with retention rules for a new log.
    #[must_use]
    pub fn with_retention(mut self, retention: Option<Retention>) -> Self {
        self.retention = retention;
        self
    }

    /// The same, writing this node's retention rules into a log whose rules differ.
    #[must_use]
    pub fn with_apply_retention(mut self, apply: bool) -> Self {
        self.apply_retention = apply;
        self
    }

    /// Whether appends wait for replicas.
    pub(crate) const fn waits(&self) -> bool {
        matches!(self.durability, Durability::Replicas { .. })
    }

    /// Where it is, without secrets.
    pub(crate) fn location(&self) -> String {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        let hosts: Vec<_> = self.addresses.iter().map(|(h, p)| format!("{h}:{p}")).collect();
        let kind = match self.topology {
            Topology::Single => "",
            Topology::Sentinel => " (sentinel)",
            Topology::Cluster => " (cluster)",
        };
        format!("{scheme}://{}/{}{kind}", hosts.join(","), self.database)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |reason: &str| Err(Error::config(reason));
        if self.addresses.is_empty() {
            return wrong("an address of a Redis server is expected");
        }
        let plain = |c: char| !c.is_control() && c != '{' && c != '}';
        if self.namespace.is_empty()
            || self.namespace.len() > 255
            || !self.namespace.chars().all(plain)
        {
            return wrong("the namespace has 1 to 255 bytes, no braces and no control characters");
        }
        match self.topology {
            Topology::Sentinel if self.sentinel_master.is_none() => {
                return wrong("the name of the primary is needed to ask Sentinels for it");
            }
            Topology::Cluster if self.database != 0 => {
                return wrong("a Redis cluster has database 0 only");
            }
            _ => {}
        }
        if self.max_payload == 0 || self.max_payload > MAX_PAYLOAD {
            return wrong("max_payload may be 1 byte to 64 MiB");
        }
        if let Durability::Replicas { replicas, timeout } = self.durability
            && (replicas == 0 || timeout < Duration::from_millis(10))
        {
            // The server takes no time at all for waiting for ever.
            return wrong("durability: one replica or more, to be waited for 10 ms or more");
        }
        if self.dedup_window < MIN_WINDOW {
            return wrong("dedup_window must be five minutes or more");
        }
        if self.lane_memory < self.dedup_window {
            return wrong("lane_memory must not be shorter than dedup_window");
        }
        let least = Duration::from_millis(10);
        let times = [self.timeout, self.ping_interval, self.reconnect_max, self.sweep_interval];
        if times.iter().any(|time| *time < least) {
            return wrong(
                "timeout, ping_interval, reconnect_max and sweep_interval must be 10 ms or more",
            );
        }
        if self.apply_retention && self.retention.is_none() {
            return wrong("apply_retention is set, but no retention rules are given");
        }
        if self.client_name.chars().any(|c| !c.is_ascii_graphic()) {
            return wrong("client_name may only have printable ASCII characters without spaces");
        }
        Ok(())
    }
}

/// The server's own limit is 512 MiB for an argument, and a push waits in the output buffer of
/// every node.
const MAX_PAYLOAD: usize = 64 << 20;
/// The contract's least de-duplication window.
const MIN_WINDOW: Duration = Duration::from_secs(300);
