//! What can be set.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tavern_backend::{Error, Result, Retention};

/// How this client proves who it is.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// Not at all; with [`Tls::client`] its certificate may speak for it.
    #[default]
    None,
    /// A user and a password.
    User {
        /// The user.
        username: String,
        /// The password. Never printed.
        password: String,
    },
    /// A token. Never printed.
    Token(String),
    /// The seed of an NKey (`SU…`): the server's challenge is signed with it. Never printed.
    NKey(String),
    /// A credentials file, with a user's JWT and seed, as `nsc generate creds` writes it. It is read
    /// at every connect, so that a renewed file is used without a restart.
    File(PathBuf),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::User { username, .. } => {
                f.debug_struct("User").field("username", username).finish_non_exhaustive()
            }
            Self::Token(_) => f.write_str("Token(…)"),
            Self::NKey(_) => f.write_str("NKey(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
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
    /// Whether TLS comes before the server's greeting (`handshake_first` in its configuration).
    pub first: bool,
}

/// Where a stream keeps its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Storage {
    /// In files.
    #[default]
    File,
    /// In memory: gone with the server, or with the last of the replicas.
    Memory,
}

/// How a [`NatsBackend`](crate::NatsBackend) is set up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NatsConfig {
    /// Hosts and ports of one server, or of some servers of one cluster; the others are learnt.
    pub servers: Vec<(String, u16)>,
    /// How this client proves who it is.
    pub credentials: Credentials,
    /// TLS; none by default. A server that demands TLS gets it, trusting the system's authorities.
    pub tls: Option<Tls>,
    /// The namespace: its subjects begin with `tavern.NAMESPACE.`.
    pub namespace: String,
    /// The JetStream domain, where the account has several.
    pub domain: Option<String>,
    /// What inboxes begin with, where the account's permissions do not allow `_INBOX`.
    pub inbox_prefix: Option<String>,
    /// The retention rules of a log that is created; `None` for the defaults. A log that exists has
    /// its own, which win.
    pub retention: Option<Retention>,
    /// Writes [`NatsConfig::retention`] into a log whose rules differ, for all its nodes.
    pub apply_retention: bool,
    /// On how many servers the streams are kept, if this node creates them: 1 by default. More need
    /// a cluster.
    pub replicas: u8,
    /// Where the streams keep their messages, if this node creates them.
    pub storage: Storage,
    /// The largest message, in bytes of data: 1 MiB by default, or what the server's `max_payload`
    /// leaves when everything around the data is taken off.
    pub max_payload: usize,
    /// How long the server remembers the key of a publication and its id: 10 minutes by default,
    /// 5 at least.
    pub dedup_window: Duration,
    /// For how long the server keeps an entry beyond its age, so that floors of quiet topics are
    /// exact: an hour by default. A client that was away for longer than this and the age of the
    /// oldest rule is told of a gap even where nothing was missed.
    pub lane_memory: Duration,
    /// How long an answer may take before the link counts as broken: 5 s by default.
    pub timeout: Duration,
    /// How often an idle connection is asked whether it still works: 2 s by default. One that is cut
    /// in silence is noticed after three times this.
    pub ping_interval: Duration,
    /// The longest wait between two attempts to connect: 1 s by default; the first come faster.
    pub reconnect_max: Duration,
    /// How often this node looks after the log: 5 s by default.
    pub sweep_interval: Duration,
    /// What the connections are called in the server's list (`/connz`), before the node's id.
    pub client_name: String,
}

impl NatsConfig {
    /// The defaults, on one server.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            servers: vec![(host.into(), port)],
            credentials: Credentials::None,
            tls: None,
            namespace: "default".to_owned(),
            domain: None,
            inbox_prefix: None,
            retention: None,
            apply_retention: false,
            replicas: 1,
            storage: Storage::File,
            max_payload: 1 << 20,
            dedup_window: Duration::from_secs(600),
            lane_memory: Duration::from_secs(3600),
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

    /// The same with these rules for a log that is created.
    #[must_use]
    pub fn with_retention(mut self, retention: Option<Retention>) -> Self {
        self.retention = retention;
        self
    }

    /// The same, writing its rules into a log whose rules differ or not.
    #[must_use]
    pub fn with_apply_retention(mut self, apply: bool) -> Self {
        self.apply_retention = apply;
        self
    }

    /// Where it is, without secrets.
    pub(crate) fn location(&self) -> String {
        let scheme = if self.tls.is_some() { "tls" } else { "nats" };
        let hosts = self.servers.iter().map(|(host, port)| address(host, *port));
        format!("{scheme}://{}", hosts.collect::<Vec<_>>().join(","))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |reason: &str| Err(Error::config(reason));
        if self.servers.is_empty() {
            return wrong("an address of a NATS server is expected");
        }
        // Whatever stands there is printed.
        if self.servers.iter().any(|(host, _)| host.contains('@')) {
            return wrong("a host has no `@`: credentials are given apart from it");
        }
        if self.namespace.is_empty()
            || self.namespace.len() > 64
            || self.namespace.chars().any(char::is_control)
        {
            return wrong("the namespace has 1 to 64 bytes and no control characters");
        }
        if !(1..=5).contains(&self.replicas) {
            return wrong("replicas may be 1 to 5");
        }
        if self.max_payload == 0 || self.max_payload > MAX_PAYLOAD {
            return wrong("max_payload may be 1 byte to 64 MiB");
        }
        if self.dedup_window < MIN_WINDOW {
            return wrong("dedup_window must be five minutes or more");
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
        if let Some(prefix) = &self.inbox_prefix
            && !is_subject(prefix)
        {
            return wrong("inbox_prefix is a subject without wildcards, as in `_INBOX_tavern`");
        }
        if let Some(domain) = &self.domain
            && (domain.contains('.') || !is_subject(domain))
        {
            return wrong("domain is one word, as in the server's `jetstream { domain }`");
        }
        if self.client_name.chars().any(|c| !c.is_ascii_graphic()) {
            return wrong("client_name may only have printable ASCII characters without spaces");
        }
        Ok(())
    }
}

fn is_subject(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '*' | '>');
    text.split('.').all(|token| !token.is_empty() && token.chars().all(plain))
}

/// Host and port as a URL has them.
pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The server's own limit.
const MAX_PAYLOAD: usize = 64 << 20;
/// The contract's least de-duplication window.
const MIN_WINDOW: Duration = Duration::from_secs(300);
