//! What a Redis is started with.

use std::io;
use std::path::PathBuf;

use crate::engine::program;

/// Which server it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flavor {
    /// `redis-server`.
    #[default]
    Redis,
    /// `valkey-server`. The one that `scripts/install-deps` brings speaks no TLS.
    Valkey,
}

impl Flavor {
    pub(super) fn program(self) -> io::Result<PathBuf> {
        match self {
            Self::Redis => program::find("redis-server", "the Debian package redis-server"),
            Self::Valkey => program::find(
                "valkey-server",
                "the Debian package valkey-server, or run scripts/install-deps, which fetches one",
            ),
        }
    }
}

/// What a Redis is started with: by default nothing is kept on disk and anyone may do everything.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RedisOptions {
    /// Which server it is.
    pub flavor: Flavor,
    /// Keeps each write on disk before it is acknowledged: `appendonly`, `appendfsync always`.
    pub appendonly: bool,
    /// Serves TLS, too, on a port of its own and with a certificate of its own authority.
    pub tls: bool,
    /// Users who may do everything, by name and password. If there are any, nobody else may do
    /// anything.
    pub users: Vec<(String, String)>,
    /// Further lines for the configuration file.
    pub config: Vec<String>,
}

impl RedisOptions {
    /// A server of this flavor.
    #[must_use]
    pub fn new(flavor: Flavor) -> Self {
        Self { flavor, ..Self::default() }
    }

    /// Keeps each write on disk before it is acknowledged, so that `kill -9` loses none.
    #[must_use]
    pub fn with_appendonly(mut self) -> Self {
        self.appendonly = true;
        self
    }

    /// Serves TLS, too.
    #[must_use]
    pub fn with_tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Lets only this user in, and those that are added the same way.
    #[must_use]
    pub fn with_user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    /// Adds a line to the configuration file, such as `maxmemory-policy allkeys-lru`.
    #[must_use]
    pub fn with_config(mut self, line: impl Into<String>) -> Self {
        self.config.push(line.into());
        self
    }
}
