//! What a NATS is started with.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::program;

/// Which server it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NatsFlavor {
    /// `nats-server` of the system: 2.9 in Debian 12, the oldest that is supported.
    #[default]
    Debian,
    /// `nats-server-current`, which `scripts/install-deps` fetches.
    Current,
}

impl NatsFlavor {
    pub(super) fn program(self) -> io::Result<PathBuf> {
        match self {
            Self::Debian => program::find("nats-server", "the Debian package nats-server"),
            Self::Current => program::find(
                "nats-server-current",
                "it with scripts/install-deps, which fetches one",
            ),
        }
    }
}

/// Who may come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NatsAuth {
    /// Anyone.
    #[default]
    None,
    /// Those who know this token.
    Token(String),
    /// These users, and the testkit's own, who may do everything.
    Users(Vec<NatsUser>),
    /// Whom this text of the configuration file lets in: a whole `authorization {…}` or
    /// `accounts {…}`. The testkit itself comes in as the user and with the password that are
    /// given; without them its methods that talk to the server fail.
    Raw(String, Option<(String, String)>),
}

/// One user of [`NatsAuth::Users`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsUser {
    login: Login,
    permissions: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Login {
    Password(String, String),
    Key(String),
}

impl NatsUser {
    /// One with a password.
    #[must_use]
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self { login: Login::Password(name.into(), password.into()), permissions: None }
    }

    /// One with an NKey, whose public half (`U…`) this is.
    #[must_use]
    pub fn with_key(public: impl Into<String>) -> Self {
        Self { login: Login::Key(public.into()), permissions: None }
    }

    /// Lets it do no more than this text of the configuration file says, such as
    /// `{ publish: "a.>", subscribe: { deny: ["b", "c"] } }`.
    #[must_use]
    pub fn with_permissions(mut self, text: impl Into<String>) -> Self {
        self.permissions = Some(text.into());
        self
    }

    /// Its name and password, if it has some.
    pub(super) fn password(&self) -> Option<(&str, &str)> {
        match &self.login {
            Login::Password(name, word) => Some((name, word)),
            Login::Key(_) => None,
        }
    }

    /// Its entry in the configuration file.
    pub(super) fn entry(&self) -> String {
        let login = match &self.login {
            Login::Password(name, word) => format!("user: {name:?}, password: {word:?}"),
            Login::Key(public) => format!("nkey: {public:?}"),
        };
        let more = self.permissions.as_ref().map(|text| format!(", permissions: {text}"));
        format!("{{ {login}{} }}", more.unwrap_or_default())
    }
}

/// Whether a NATS speaks TLS, and with whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NatsTls {
    /// It does not.
    #[default]
    No,
    /// With anyone, and with nobody without.
    Server,
    /// Only with those who show a certificate of its authority.
    Mutual,
}

/// What a NATS is started with: by default with JetStream, without TLS, and for anyone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NatsOptions {
    /// Which server it is.
    pub flavor: NatsFlavor,
    /// Whether it has JetStream.
    pub jetstream: bool,
    /// The most bytes that JetStream keeps on disk: by default three quarters of what is free.
    pub max_store: Option<u64>,
    /// The largest message, headers included: by default 1 MiB.
    pub max_payload: Option<u32>,
    /// How long it stays as it is in lame duck mode before it sends its clients away, no more than
    /// one a second: by default ten seconds.
    pub lame_duck_grace: Option<Duration>,
    /// Whether it speaks TLS.
    pub tls: NatsTls,
    /// Who may come in.
    pub auth: NatsAuth,
    /// Further lines for the configuration file.
    pub config: Vec<String>,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            flavor: NatsFlavor::default(),
            jetstream: true,
            max_store: None,
            max_payload: None,
            lame_duck_grace: None,
            tls: NatsTls::default(),
            auth: NatsAuth::default(),
            config: Vec::new(),
        }
    }
}

impl From<NatsFlavor> for NatsOptions {
    fn from(flavor: NatsFlavor) -> Self {
        Self::new(flavor)
    }
}

impl NatsOptions {
    /// A server of this flavor.
    #[must_use]
    pub fn new(flavor: NatsFlavor) -> Self {
        Self { flavor, ..Self::default() }
    }

    /// Has no JetStream.
    #[must_use]
    pub fn without_jetstream(mut self) -> Self {
        self.jetstream = false;
        self
    }

    /// Keeps at most so many bytes on disk.
    #[must_use]
    pub fn with_max_store(mut self, bytes: u64) -> Self {
        self.max_store = Some(bytes);
        self
    }

    /// Takes no larger messages, headers included.
    #[must_use]
    pub fn with_max_payload(mut self, bytes: u32) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// Waits so long in lame duck mode before it sends its clients away.
    #[must_use]
    pub fn with_lame_duck_grace(mut self, grace: Duration) -> Self {
        self.lame_duck_grace = Some(grace);
        self
    }

    /// Speaks TLS only.
    #[must_use]
    pub fn with_tls(mut self, tls: NatsTls) -> Self {
        self.tls = tls;
        self
    }

    /// Lets only these in.
    #[must_use]
    pub fn with_auth(mut self, auth: NatsAuth) -> Self {
        self.auth = auth;
        self
    }

    /// Adds a line to the configuration file, such as `max_connections: 3`.
    #[must_use]
    pub fn with_config(mut self, line: impl Into<String>) -> Self {
        self.config.push(line.into());
        self
    }
}
