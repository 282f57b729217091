//! What stands behind the `?`.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tavern_backend::{Error, Result};

/// The parameters that were not taken yet.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: &str) -> Result<Self> {
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

    /// Takes a parameter.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Takes a parameter that is a whole number of `unit`.
    pub(super) fn number<T: FromStr>(&mut self, name: &str, unit: &str) -> Result<Option<T>> {
        let wrong = |_| Error::config(format_args!("`{name}` is a whole number of {unit}"));
        self.take(name).map(|text| text.parse().map_err(wrong)).transpose()
    }

    /// Takes a parameter that is `true` or `false`, which it is if it is not there.
    #[cfg(any(feature = "nats", feature = "redis"))]
    pub(super) fn flag(&mut self, name: &str) -> Result<bool> {
        self.flag_or(name, false)
    }

    /// Takes a parameter that is `true` or `false`.
    #[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
    pub(super) fn flag_or(&mut self, name: &str, default: bool) -> Result<bool> {
        match self.take(name).as_deref() {
            None => Ok(default),
            Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Error::config(format_args!("`{name}` is `true` or `false`"))),
        }
    }

    /// Refuses what nobody took.
    pub(super) fn end(self, scheme: &str, known: &str) -> Result<()> {
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
