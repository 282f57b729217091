//! From a URL to a bus.

#[cfg(any(feature = "nats", feature = "redis"))]
mod authority;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "postgres")]
mod postgres;
mod query;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;

use tavern_backend::{Bus, Error, Result, Retention};

use query::Query;

/// What a URL does not say.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// The retention rules of a log that is created. A log that exists has its own, which win; if
    /// they are others, the backend logs a warning with both.
    pub retention: Option<Retention>,
    /// Write these rules into a log that has others, for all its nodes.
    pub apply_retention: bool,
}

impl ConnectOptions {
    /// Sets [`retention`](Self::retention).
    #[must_use]
    pub fn with_retention(mut self, retention: Option<Retention>) -> Self {
        self.retention = retention;
        self
    }

    /// Sets [`apply_retention`](Self::apply_retention).
    #[must_use]
    pub const fn with_apply_retention(mut self, apply: bool) -> Self {
        self.apply_retention = apply;
        self
    }
}

/// Opens the backend that `url` names.
///
/// | URL | backend |
/// |---|---|
/// | `memory:` | in this process, for itself alone |
/// | `sqlite:PATH` | several processes on one file (feature `sqlite`) |
/// | `redis://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/DATABASE]`, `rediss://` with TLS | several machines on Redis or Valkey (feature `redis`) |
/// | `nats://[USER:PASSWORD@\|TOKEN@]HOST[:PORT][,HOST[:PORT]…]`, `tls://` with TLS | several machines on NATS JetStream (feature `nats`); several hosts are servers of one cluster |
/// | `postgres://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…][/DATABASE]`, `postgresql://` | several machines on Postgres (feature `postgres`); of several hosts the one that writes |
///
/// Behind a `?` may stand, percent-encoded:
///
/// | for | parameters |
/// |---|---|
/// | all | `namespace`, `max_payload` (bytes) |
/// | `sqlite` | `durability` (`full` or `normal`) |
/// | `redis` | `sentinel` (the primary's name: the hosts are Sentinels), `sentinel_username`, `sentinel_password`; `cluster` (`true`: the hosts are nodes of a cluster); `ca`, `cert`, `key` (PEM files); `replicas` (wait for so many), `replicas_timeout`, `timeout`, `ping_interval` (milliseconds); `allow_eviction` (`true`); `client_name` |
/// | `nats`, `tls` | `creds` (a credentials file), `nkey` (a file with the seed of an NKey); `ca`, `cert`, `key` (PEM files), `tls_first` (`true`); `replicas` (1 to 5) and `storage` (`file` or `memory`) of streams that are created; `domain`, `inbox_prefix`; `dedup_window`, `lane_memory` (seconds); `timeout`, `ping_interval` (milliseconds); `client_name` |
/// | `postgres` | `listen` (a whole URL: where to listen, if not there, as behind a pooler in transaction mode); `migrate` (`false`: the schema is there already); `dedup_window`, `lane_memory` (seconds); `timeout`, `poll_interval`, `outbox_interval` (milliseconds); and what the connection takes, as in all URLs of Postgres: `sslmode` (up to `verify-full`), `sslrootcert`, `sslcert`, `sslkey`, `passfile`, `application_name`, `options`, `target_session_attrs`, `connect_timeout` and others, which the error about an unknown one lists |
///
/// To NATS, a user without a colon is a token, as all its clients read it. Keys are in files of their own,
/// never in the URL, which process lists and logs may show.
///
/// # Errors
///
/// [`Error::Config`] if the URL is not understood, which names what would be; it never repeats
/// the URL, in which a secret may stand. Else whatever opening the backend reports.
///
/// # Cancel safety
///
/// Cancel safe: what was opened is closed again.
pub async fn connect(url: &str) -> Result<Bus> {
    connect_with(url, ConnectOptions::default()).await
}

/// Opens the backend that `url` names: as [`connect`], with what a URL does not say.
///
/// # Errors
///
/// As [`connect`].
///
/// # Cancel safety
///
/// As [`connect`].
pub async fn connect_with(url: &str, options: ConnectOptions) -> Result<Bus> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(Error::config(format_args!(
            "the backend's URL has no scheme; these are compiled in: {}",
            available()
        )));
    };
    let (place, query) = match scheme {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => postgres::split(rest),
        _ => rest.split_once('?').unwrap_or((rest, "")),
    };
    match scheme {
        "memory" => memory::open(place, Query::parse(query)?, options),
        #[cfg(feature = "sqlite")]
        "sqlite" => sqlite::open(place, Query::parse(query)?, options).await,
        #[cfg(feature = "redis")]
        "redis" | "rediss" => {
            redis::open(scheme == "rediss", place, Query::parse(query)?, options).await
        }
        #[cfg(feature = "nats")]
        "nats" | "tls" => nats::open(scheme == "tls", place, Query::parse(query)?, options).await,
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => postgres::open(place, Query::parse(query)?, options).await,
        // No scheme is a secret unless it is not one: `password@host:port`.
        unknown if unknown.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
            Err(Error::config(format_args!(
                "`{unknown}:` is not a backend of this build; these are compiled in: {}",
                available()
            )))
        }
        _ => Err(Error::config(format_args!(
            "the backend's URL is malformed; these are compiled in: {}",
            available()
        ))),
    }
}

/// The forms of URLs that this build understands.
fn available() -> String {
    [
        Some("`memory:`"),
        cfg!(feature = "sqlite").then_some("`sqlite:PATH`"),
        cfg!(feature = "redis").then_some("`redis://HOST:PORT`, `rediss://HOST:PORT`"),
        cfg!(feature = "nats").then_some("`nats://HOST:PORT`, `tls://HOST:PORT`"),
        cfg!(feature = "postgres").then_some("`postgres://HOST:PORT/DATABASE`"),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}

#[cfg(test)]
mod tests;
