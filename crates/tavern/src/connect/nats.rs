//! `nats://` and `tls://`

use std::path::Path;
use std::time::Duration;

use tavern_backend::{Bus, Error, Result};
use tavern_nats::{Credentials, NatsBackend, NatsConfig, Storage, Tls};

use super::ConnectOptions;
use super::authority::Authority;
use super::query::Query;

const KNOWN: &str = "namespace, max_payload, replicas, storage, creds, nkey, ca, cert, key, tls_first, \
     domain, inbox_prefix, dedup_window, lane_memory, timeout, ping_interval, client_name";

pub(super) async fn open(
    tls: bool,
    place: &str,
    query: Query,
    options: ConnectOptions,
) -> Result<Bus> {
    let config = config(tls, place, query)?
        .with_retention(options.retention)
        .with_apply_retention(options.apply_retention);
    Ok(Bus::new(NatsBackend::open(config).await?))
}

pub(super) fn config(tls: bool, place: &str, mut query: Query) -> Result<NatsConfig> {
    let scheme = if tls { "tls" } else { "nats" };
    // NATS's own tools take a list of whole URLs, too.
    let place = place.replace(&format!(",{scheme}://"), ",");
    if place.matches('@').count() > 1 {
        return Err(Error::config(
            "credentials stand in the URL once, before the first host; an `@` in them is `%40`",
        ));
    }
    let authority = Authority::parse(&place, 4222)?;
    if !authority.path.is_empty() {
        return Err(Error::config("a path has no meaning in the URL of a NATS server"));
    }
    let mut config = NatsConfig::new("", 4222);
    config.credentials = credentials(&authority, &mut query)?;
    config.servers = authority.hosts;
    config.tls = certificates(tls, &mut query)?;
    if let Some(namespace) = query.take("namespace") {
        config.namespace = namespace;
    }
    if let Some(bytes) = query.number("max_payload", "bytes")? {
        config.max_payload = bytes;
    }
    if let Some(replicas) = query.number("replicas", "replicas")? {
        config.replicas = replicas;
    }
    config.storage = match query.take("storage").as_deref() {
        None | Some("file") => Storage::File,
        Some("memory") => Storage::Memory,
        Some(_) => return Err(Error::config("`storage` is `file` or `memory`")),
    };
    config.domain = query.take("domain");
    config.inbox_prefix = query.take("inbox_prefix");
    for (name, time) in
        [("dedup_window", &mut config.dedup_window), ("lane_memory", &mut config.lane_memory)]
    {
        if let Some(seconds) = query.number(name, "seconds")? {
            *time = Duration::from_secs(seconds);
        }
    }
    for (name, time) in
        [("timeout", &mut config.timeout), ("ping_interval", &mut config.ping_interval)]
    {
        if let Some(millis) = query.number(name, "milliseconds")? {
            *time = Duration::from_millis(millis);
        }
    }
    if let Some(name) = query.take("client_name") {
        config.client_name = name;
    }
    query.end(scheme, KNOWN)?;
    Ok(config)
}

fn credentials(authority: &Authority, query: &mut Query) -> Result<Credentials> {
    let user = match (&authority.username, &authority.password) {
        (None, None) if !authority.has_colon => None,
        // As all clients of NATS read it: a name alone is a token.
        (Some(token), None) if !authority.has_colon => Some(Credentials::Token(token.clone())),
        (Some(username), Some(password)) => {
            Some(Credentials::User { username: username.clone(), password: password.clone() })
        }
        _ => {
            return Err(Error::config(
                "USER:PASSWORD or a token is expected before the `@` in the URL",
            ));
        }
    };
    let file = query.take("creds").map(|path| Credentials::File(path.into()));
    let key = query.take("nkey").map(|path| seed(Path::new(&path))).transpose()?;
    let mut given = [user, file, key.map(Credentials::NKey)].into_iter().flatten();
    match (given.next(), given.next()) {
        (_, Some(_)) => Err(Error::config(
            "a user or a token before the `@`, `creds` and `nkey` exclude one another",
        )),
        (given, None) => Ok(given.unwrap_or_default()),
    }
}

/// Reads the seed of an NKey from its file, as `nk -gen user` and `nsc` write it. It is a file because
/// a URL is seen by more eyes than a file is, and a seed is never to be shown, unlike a password not
/// even to the server.
fn seed(path: &Path) -> Result<String> {
    // The path is not repeated: somebody may have taken it for the place of the seed.
    let text = std::fs::read_to_string(path).map_err(|error| {
        let kind = error.kind();
        Error::config(format_args!(
            "`nkey` is the path of a file with the seed, not the seed; the file cannot be read: {kind}"
        ))
    })?;
    // The file may have a title around the seed, and other keys before it.
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    seed.map(str::to_owned)
        .ok_or_else(|| Error::config("the file of `nkey` holds no seed of a user (`SU…`)"))
}

fn certificates(tls: bool, query: &mut Query) -> Result<Option<Tls>> {
    let (ca, cert, key) = (query.take("ca"), query.take("cert"), query.take("key"));
    let first = query.flag("tls_first")?;
    if !tls {
        return match (ca, cert, key, first) {
            (None, None, None, false) => Ok(None),
            _ => Err(Error::config(
                "`ca`, `cert`, `key` and `tls_first` are for `tls://`, which uses TLS",
            )),
        };
    }
    let mut tls = Tls::default();
    tls.ca = ca.map(Into::into);
    tls.client = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert.into(), key.into())),
        (None, None) => None,
        _ => return Err(Error::config("`cert` and `key` are only of use together")),
    };
    tls.first = first;
    Ok(Some(tls))
}
