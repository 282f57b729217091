//! What can be set.

use std::fmt;
use std::time::Duration;

use tavern_backend::{Error, Result, Retention};

use crate::dsn::Dsn;

/// How a [`PostgresBackend`](crate::PostgresBackend) is set up.
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresConfig {
    /// Where the database is: a URL (`postgres://user:password@host:5432/database?sslmode=…`) or
    /// `key=value` pairs, as `libpq` reads them. May lead through a pooler in transaction mode.
    pub url: String,
    /// Where to listen for notifications, if not there: a pooler in transaction mode hands none on.
    /// Without it the log is looked at every [`PostgresConfig::poll_interval`] all the same.
    pub listen_url: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// The retention rules of a log that is created; `None` for the defaults. A log that exists has
    /// its own, which win.
    pub retention: Option<Retention>,
    /// Writes [`PostgresConfig::retention`] into a log whose rules differ, for all its nodes.
    pub apply_retention: bool,
    /// Creates the schema `tavern`, or brings it up to date, when a node opens: on by default. Off,
    /// the role needs no right to create anything; see [`schema`](crate::schema).
    pub migrate: bool,
    /// The largest message, in bytes of data: 1 MiB by default.
    pub max_payload: usize,
    /// How long the key of a publication, and an id whose entry is gone, are remembered: 10 minutes
    /// by default, 5 at least.
    pub dedup_window: Duration,
    /// After how much silence an empty lane is forgotten, its last seq kept in the horizon: a day by
    /// default.
    pub lane_memory: Duration,
    /// How long an answer may take: 5 s by default. Where none comes to an append, or no sign of life
    /// in the same time again, the link counts as broken.
    pub timeout: Duration,
    /// How often the log is looked at without a notification: 500 ms by default. It stands behind
    /// those, and tells a link that is cut in silence.
    pub poll_interval: Duration,
    /// How often a node looks for what SQL has published: 50 ms by default.
    pub outbox_interval: Duration,
    /// The longest wait between two attempts to connect: 1 s by default; the first come faster.
    pub reconnect_max: Duration,
    /// How often this node looks for what is too old: 5 s by default.
    pub sweep_interval: Duration,
    /// What the connections are called in `pg_stat_activity`.
    pub application_name: String,
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("location", &Dsn::parse(&self.url).map(|dsn| dsn.location()))
            .field("namespace", &self.namespace)
            .field("listens_elsewhere", &self.listen_url.is_some())
            .finish_non_exhaustive()
    }
}

impl PostgresConfig {
    /// The defaults, in this database.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            listen_url: None,
            namespace: "default".to_owned(),
            retention: None,
            apply_retention: false,
            migrate: true,
            max_payload: 1 << 20,
            dedup_window: Duration::from_secs(600),
            lane_memory: Duration::from_secs(24 * 3600),
            timeout: Duration::from_secs(5),
            poll_interval: Duration::from_millis(500),
            outbox_interval: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(1),
            sweep_interval: Duration::from_secs(5),
            application_name: "tavern".to_owned(),
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

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |reason: &str| Err(Error::config(reason));
        if self.namespace.is_empty()
            || self.namespace.len() > 255
            || self.namespace.chars().any(char::is_control)
        {
            return wrong("the namespace has 1 to 255 bytes and no control characters");
        }
        if self.max_payload == 0 || self.max_payload > MAX_PAYLOAD {
            return wrong("max_payload may be 1 byte to 64 MiB");
        }
        if self.dedup_window < MIN_WINDOW {
            return wrong("dedup_window must be five minutes or more");
        }
        if self.lane_memory < self.dedup_window {
            return wrong("lane_memory must not be shorter than dedup_window");
        }
        let least = Duration::from_millis(5);
        let times = [
            self.timeout,
            self.poll_interval,
            self.outbox_interval,
            self.reconnect_max,
            self.sweep_interval,
        ];
        if times.iter().any(|time| *time < least) {
            return wrong(
                "timeout, poll_interval, outbox_interval, reconnect_max and sweep_interval must be \
                 5 ms or more",
            );
        }
        if self.apply_retention && self.retention.is_none() {
            return wrong("apply_retention is set, but no retention rules are given");
        }
        if self.application_name.len() > 63
            || self.application_name.chars().any(|c| !c.is_ascii_graphic())
        {
            return wrong(
                "application_name may have up to 63 printable ASCII characters without spaces",
            );
        }
        Ok(())
    }
}

/// A value has 1 GiB at most, and is hexadecimal where it is logged.
const MAX_PAYLOAD: usize = 64 << 20;
/// The contract's least de-duplication window.
const MIN_WINDOW: Duration = Duration::from_secs(300);
