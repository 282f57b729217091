//! What a `PgBouncer` is started with.

use std::fmt::Write as _;
use std::path::Path;

use crate::engine::postgres::options::PostgresAuth;

/// The user that the testkit itself is, who may come to the console and nowhere else.
pub(super) const OURSELVES: (&str, &str) = ("testkit", "only-for-tests");

/// What a `PgBouncer` is started with: by default it lends connections for a transaction each, with
/// its own settings, without TLS, to the users `postgres` and those that are named.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PgBouncerOptions {
    /// How its users prove who they are: by default, not at all.
    pub auth: PostgresAuth,
    /// Further users, and their passwords, with which it logs in to the server as well.
    pub users: Vec<(String, String)>,
    /// Settings, which win over its own.
    pub settings: Vec<(String, String)>,
}

impl PgBouncerOptions {
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

    /// Lets this user in.
    #[must_use]
    pub fn with_user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    /// Sets one of its settings, such as `default_pool_size` or `pool_mode`.
    #[must_use]
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Its configuration file, with the list of its users in `users`.
    pub(super) fn file(&self, port: u16, server: u16, users: &Path) -> String {
        let auth = match self.auth {
            // The list has the passwords themselves.
            PostgresAuth::Password => "plain",
            other => other.method(),
        };
        let ours = [
            ("listen_addr", "127.0.0.1".to_owned()),
            ("listen_port", port.to_string()),
            ("unix_socket_dir", String::new()),
            ("auth_type", auth.to_owned()),
            ("auth_file", users.display().to_string()),
            ("admin_users", OURSELVES.0.to_owned()),
            ("pool_mode", "transaction".to_owned()),
        ];
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let mut file = format!("[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\n");
        for (name, value) in ours.into_iter().chain(given) {
            // Writing to a string cannot fail.
            let _ = writeln!(file, "{name} = {value}");
        }
        file
    }

    /// The list of its users.
    pub(super) fn users(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let ours = [OURSELVES, ("postgres", "")];
        let given = self.users.iter().map(|(name, word)| (name.as_str(), word.as_str()));
        let lines = ours.into_iter().chain(given);
        lines.map(|(name, word)| format!("{} {}\n", quoted(name), quoted(word))).collect()
    }
}
