//! `redis://` and `rediss://`

use std::time::Duration;

use tavern_backend::{Bus, Error, Result};
use tavern_redis::{Credentials, Durability, RedisBackend, RedisConfig, Tls, Topology};

use super::ConnectOptions;
use super::authority::Authority;
use super::query::Query;

const KNOWN: &str = "namespace, max_payload, sentinel, sentinel_username, sentinel_password, cluster, \
     ca, cert, key, replicas, replicas_timeout, timeout, ping_interval, allow_eviction, client_name";

pub(super) async fn open(
    tls: bool,
    place: &str,
    query: Query,
    options: ConnectOptions,
) -> Result<Bus> {
    let config = config(tls, place, query)?
        .with_retention(options.retention)
        .with_apply_retention(options.apply_retention);
    Ok(Bus::new(RedisBackend::open(config).await?))
}

pub(super) fn config(tls: bool, place: &str, mut query: Query) -> Result<RedisConfig> {
    let sentinel = query.take("sentinel");
    let port = if sentinel.is_some() { 26379 } else { 6379 };
    let Authority { username, password, hosts, path, .. } = Authority::parse(place, port)?;
    let mut config = RedisConfig::new("", port);
    config.addresses = hosts;
    config.credentials = Credentials { username, password };
    if !path.is_empty() {
        let wrong =
            |_| Error::config("the path of the URL is the number of a database, as in `/0`");
        config.database = path.parse().map_err(wrong)?;
    }
    let cluster = query.flag("cluster")?;
    config.topology = match (&sentinel, cluster) {
        (Some(_), true) => {
            return Err(Error::config("`sentinel` and `cluster` exclude each other"));
        }
        (Some(_), false) => Topology::Sentinel,
        (None, true) => Topology::Cluster,
        (None, false) => Topology::Single,
    };
    config.sentinel_master = sentinel;
    config.sentinel_credentials = Credentials {
        username: query.take("sentinel_username"),
        password: query.take("sentinel_password"),
    };
    config.tls = certificates(tls, &mut query)?;
    if let Some(namespace) = query.take("namespace") {
        config.namespace = namespace;
    }
    if let Some(bytes) = query.number("max_payload", "bytes")? {
        config.max_payload = bytes;
    }
    let timeout = query.number("replicas_timeout", "milliseconds")?;
    config.durability = match (query.number("replicas", "replicas")?, timeout) {
        (None, None) => Durability::Primary,
        (None, Some(_)) => {
            return Err(Error::config(
                "`replicas_timeout` says for how long to wait for `replicas`",
            ));
        }
        (Some(replicas), timeout) => Durability::Replicas {
            replicas,
            timeout: Duration::from_millis(timeout.unwrap_or(1000)),
        },
    };
    if let Some(millis) = query.number("timeout", "milliseconds")? {
        config.timeout = Duration::from_millis(millis);
    }
    if let Some(millis) = query.number("ping_interval", "milliseconds")? {
        config.ping_interval = Duration::from_millis(millis);
    }
    config.allow_eviction = query.flag("allow_eviction")?;
    if let Some(name) = query.take("client_name") {
        config.client_name = name;
    }
    query.end("redis", KNOWN)?;
    Ok(config)
}

fn certificates(tls: bool, query: &mut Query) -> Result<Option<Tls>> {
    let (ca, cert, key) = (query.take("ca"), query.take("cert"), query.take("key"));
    if !tls {
        return match (ca, cert, key) {
            (None, None, None) => Ok(None),
            _ => Err(Error::config("`ca`, `cert` and `key` are for `rediss://`, which uses TLS")),
        };
    }
    let mut tls = Tls::default();
    tls.ca = ca.map(Into::into);
    tls.client = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert.into(), key.into())),
        (None, None) => None,
        _ => return Err(Error::config("`cert` and `key` are only of use together")),
    };
    Ok(Some(tls))
}
