//! What a Postgres is started with.

/// Who may come in, over TCP. The testkit itself comes through a socket that asks nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostgresAuth {
    /// Anyone, as anyone.
    #[default]
    Trust,
    /// Those who know their password, proved with SCRAM-SHA-256.
    Scram,
    /// Those who know their password, of which MD5 sums are kept.
    Md5,
    /// Those who know their password, said as it is.
    Password,
}

impl PostgresAuth {
    /// Its name in `pg_hba.conf`.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Scram => "scram-sha-256",
            Self::Md5 => "md5",
            Self::Password => "password",
        }
    }
}

/// What a Postgres is started with: by default with its own settings, without TLS, for anyone.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// Who may come in.
    pub auth: PostgresAuth,
    /// Whether it speaks TLS with those who ask for it. Nobody has to: that takes a line of
    /// [`hba`](Self::hba).
    pub tls: bool,
    /// Settings, which win over its own.
    pub settings: Vec<(String, String)>,
    /// Lines of `pg_hba.conf`, before those of [`auth`](Self::auth).
    pub hba: Vec<String>,
    /// What its processes have in their environment, besides that of the test.
    pub environment: Vec<(String, String)>,
}

impl PostgresOptions {
    /// The default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets only those in who prove themselves so.
    #[must_use]
    pub fn with_auth(mut self, auth: PostgresAuth) -> Self {
        self.auth = auth;
        self
    }

    /// Speaks TLS with those who ask for it.
    #[must_use]
    pub fn with_tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Sets one of its settings, such as `max_connections` or `statement_timeout`.
    #[must_use]
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Does not wait for the disk, which no kill of a process needs: only a crash of the machine
    /// does. A start after a kill takes a tenth of the time.
    #[must_use]
    pub fn without_fsync(self) -> Self {
        self.with_setting("fsync", "off")
    }

    /// Adds a line to `pg_hba.conf`, such as `hostssl all app 127.0.0.1/32 scram-sha-256`. The
    /// first line that fits decides.
    #[must_use]
    pub fn with_hba(mut self, line: impl Into<String>) -> Self {
        self.hba.push(line.into());
        self
    }

    /// Sets a variable of its processes' environment, such as a preloaded library that tells them
    /// another time.
    #[must_use]
    pub fn with_environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
}
