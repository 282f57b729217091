//! From a URL to a bus.

use percent_encoding::percent_decode_str;
use tavern_backend::{Bus, Error, MemoryBackend, MemoryConfig, Result, Retention};

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
///
/// Behind a `?` may stand, percent-encoded: `namespace`, `max_payload` (bytes), and for `sqlite`
/// `durability` (`full` or `normal`).
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
            "the backend's URL has no scheme; these are compiled in: {AVAILABLE}"
        )));
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    match scheme {
        "memory" => memory(place, Query::parse(query)?, options),
        #[cfg(feature = "sqlite")]
        "sqlite" => sqlite(place, Query::parse(query)?, options).await,
        // No scheme is a secret unless it is not one: `password@host:port`.
        unknown if unknown.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) => {
            Err(Error::config(format_args!(
                "`{unknown}:` is not a backend of this build; these are compiled in: {AVAILABLE}"
            )))
        }
        _ => Err(Error::config(format_args!(
            "the backend's URL is malformed; these are compiled in: {AVAILABLE}"
        ))),
    }
}

#[cfg(feature = "sqlite")]
const AVAILABLE: &str = "`memory:`, `sqlite:PATH`";
#[cfg(not(feature = "sqlite"))]
const AVAILABLE: &str = "`memory:`";

fn memory(place: &str, mut query: Query, options: ConnectOptions) -> Result<Bus> {
    if !place.is_empty() {
        return Err(Error::config("nothing but a query may follow `memory:`"));
    }
    let mut config = MemoryConfig::default();
    if let Some(namespace) = query.take("namespace") {
        config = config.with_namespace(namespace);
    }
    if let Some(bytes) = query.number("max_payload")? {
        config = config.with_max_payload(bytes);
    }
    if let Some(retention) = options.retention {
        config = config.with_retention(retention);
    }
    query.end("memory", "namespace, max_payload")?;
    Ok(Bus::new(MemoryBackend::with_config(config)))
}

#[cfg(feature = "sqlite")]
async fn sqlite(place: &str, mut query: Query, options: ConnectOptions) -> Result<Bus> {
    use tavern_sqlite::{Durability, SqliteBackend, SqliteConfig};

    // `sqlite:a.db`, `sqlite:/var/a.db`, and what URLs of other kinds look like: `sqlite:///var/a.db`.
    let path = place.strip_prefix("//").unwrap_or(place);
    if path.is_empty() {
        return Err(Error::config("a file is expected behind `sqlite:`, as in `sqlite:tavern.db`"));
    }
    let mut config = SqliteConfig::new(path).with_apply_retention(options.apply_retention);
    if let Some(namespace) = query.take("namespace") {
        config = config.with_namespace(namespace);
    }
    if let Some(bytes) = query.number("max_payload")? {
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

/// The parameters that were not taken yet.
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Result<Self> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = percent_decode_str(value).decode_utf8();
            let Ok(value) = decoded else {
                return Err(Error::config("a value in the backend's URL is not UTF-8"));
            };
            if parameters.iter().any(|(known, _)| known == name) {
                let name = printable(name);
                return Err(Error::config(format_args!("`{name}` is given twice")));
            }
            parameters.push((name.to_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn number(&mut self, name: &str) -> Result<Option<usize>> {
        let wrong = |_| Error::config(format_args!("`{name}` is a whole number of bytes"));
        self.take(name).map(|text| text.parse().map_err(wrong)).transpose()
    }

    /// Refuses what nobody took.
    fn end(self, scheme: &str, known: &str) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::config(format_args!(
                "`{}` is no parameter of `{scheme}:`; it knows {known}",
                printable(name)
            ))),
        }
    }
}

/// A parameter's name, unless it can hardly be one.
fn printable(name: &str) -> &str {
    let plain = name.len() <= 32 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain { name } else { "…" }
}

#[cfg(test)]
mod tests;
