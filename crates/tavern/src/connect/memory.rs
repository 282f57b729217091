//! `memory:`

use tavern_backend::{Bus, Error, MemoryBackend, MemoryConfig, Result};

use super::ConnectOptions;
use super::query::Query;

pub(super) fn open(place: &str, mut query: Query, options: ConnectOptions) -> Result<Bus> {
    if !place.is_empty() {
        return Err(Error::config("nothing but a query may follow `memory:`"));
    }
    let mut config = MemoryConfig::default();
    if let Some(namespace) = query.take("namespace") {
        config = config.with_namespace(namespace);
    }
    if let Some(bytes) = query.number("max_payload", "bytes")? {
        config = config.with_max_payload(bytes);
    }
    if let Some(retention) = options.retention {
        config = config.with_retention(retention);
    }
    query.end("memory", "namespace, max_payload")?;
    Ok(Bus::new(MemoryBackend::with_config(config)))
}
