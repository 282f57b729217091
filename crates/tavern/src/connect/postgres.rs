//! `postgres://` and `postgresql://`

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tavern_backend::{Bus, Error, Result};
use tavern_postgres::{PostgresBackend, PostgresConfig};

use super::ConnectOptions;
use super::query::Query;

/// Parameters of the connection, which are the driver's and have the names that `libpq` gives them.
const DRIVERS: &[&str] = &[
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "passfile",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
    "channel_binding",
    "target_session_attrs",
    "load_balance_hosts",
    "options",
    "application_name",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
];

const OURS: &str = "namespace, max_payload, listen, migrate, dedup_window, lane_memory, timeout, \
     poll_interval, outbox_interval";

/// The place and the query: as everywhere with Postgres, `?` may be in a password as it is.
pub(super) fn split(rest: &str) -> (&str, &str) {
    let host = rest.strip_prefix("//").unwrap_or(rest);
    let host = host.split_once('/').map_or(host, |(host, _)| host);
    let user = host.find('@').map_or(0, |at| rest.len().min(at + 2));
    match rest.get(user..).and_then(|behind| behind.find('?')) {
        Some(at) => (&rest[..user + at], &rest[user + at + 1..]),
        None => (rest, ""),
    }
}

pub(super) async fn open(place: &str, query: Query, options: ConnectOptions) -> Result<Bus> {
    let config = config(place, query)?
        .with_retention(options.retention)
        .with_apply_retention(options.apply_retention);
    Ok(Bus::new(PostgresBackend::open(config).await?))
}

pub(super) fn config(place: &str, mut query: Query) -> Result<PostgresConfig> {
    if !place.starts_with("//") {
        return Err(Error::config("`//` and a host are expected behind the scheme"));
    }
    let mut config = PostgresConfig::new("");
    if let Some(namespace) = query.take("namespace") {
        config.namespace = namespace;
    }
    if let Some(bytes) = query.number("max_payload", "bytes")? {
        config.max_payload = bytes;
    }
    if let Some(url) = query.take("listen") {
        // What else would be read as pairs of `key=value`, and the error would be about those.
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Error::config(
                "`listen` is a whole URL, percent-encoded: `postgres%3A%2F%2FUSER%40HOST%2FDATABASE`",
            ));
        }
        config.listen_url = Some(url);
    }
    config.migrate = query.flag_or("migrate", config.migrate)?;
    for (name, time) in
        [("dedup_window", &mut config.dedup_window), ("lane_memory", &mut config.lane_memory)]
    {
        if let Some(seconds) = query.number(name, "seconds")? {
            *time = Duration::from_secs(seconds);
        }
    }
    for (name, time) in [
        ("timeout", &mut config.timeout),
        ("poll_interval", &mut config.poll_interval),
        ("outbox_interval", &mut config.outbox_interval),
    ] {
        if let Some(millis) = query.number(name, "milliseconds")? {
            *time = Duration::from_millis(millis);
        }
    }
    let theirs = DRIVERS.iter().filter_map(|name| {
        let value = query.take(name)?;
        Some(format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC)))
    });
    let theirs = theirs.collect::<Vec<_>>().join("&");
    let between = if theirs.is_empty() { "" } else { "?" };
    config.url = format!("postgres:{place}{between}{theirs}");
    query.end("postgres", &format!("{OURS}; of the connection {}", DRIVERS.join(", ")))?;
    Ok(config)
}
