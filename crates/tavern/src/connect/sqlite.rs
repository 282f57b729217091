//! `sqlite:PATH`

use tavern_backend::{Bus, Error, Result};
use tavern_sqlite::{Durability, SqliteBackend, SqliteConfig};

use super::ConnectOptions;
use super::query::Query;

pub(super) async fn open(place: &str, mut query: Query, options: ConnectOptions) -> Result<Bus> {
    // `sqlite:a.db`, `sqlite:/var/a.db`, and what URLs of other kinds look like: `sqlite:///var/a.db`.
    let path = place.strip_prefix("//").unwrap_or(place);
    if path.is_empty() {
        return Err(Error::config("a file is expected behind `sqlite:`, as in `sqlite:tavern.db`"));
    }
    let mut config = SqliteConfig::new(path).with_apply_retention(options.apply_retention);
    if let Some(namespace) = query.take("namespace") {
        config = config.with_namespace(namespace);
    }
    if let Some(bytes) = query.number("max_payload", "bytes")? {
        config = config.with_max_payload(bytes);
    }
    config = match query.take("durability").as_deref() {
        None => config,
        Some("full") => config.with_durability(Durability::Full),
        Some("normal") => config.with_durability(Durability::Normal),
        Some(_) => return Err(Error::config("`durability` is `full` or `normal`")),
    };
    if let Some(retention) = options.retention {
        config = config.with_retention(retention);
    }
    query.end("sqlite", "namespace, durability, max_payload")?;
    Ok(Bus::new(SqliteBackend::open(config).await?))
}
