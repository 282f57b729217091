//! The part of a URL between `//` and the path: who, and which hosts.

use percent_encoding::percent_decode_str;
use tavern_backend::{Error, Result};

/// `[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]`, and the path behind it.
pub(super) struct Authority {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    /// Whether a colon stood behind the user, with a password or without.
    #[cfg(feature = "nats")]
    pub(super) has_colon: bool,
    pub(super) hosts: Vec<(String, u16)>,
    /// Without the slash before it.
    pub(super) path: String,
}

impl Authority {
    /// Parses what stands behind the scheme and its colon. No error repeats any of it: a password
    /// may stand in the wrong place.
    pub(super) fn parse(place: &str, default_port: u16) -> Result<Self> {
        let rest = place
            .strip_prefix("//")
            .ok_or_else(|| Error::config("`//` and a host are expected behind the scheme"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // Of several, the last: a password may have one that is not encoded.
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let (username, password) = match user.map(|user| user.split_once(':').unwrap_or((user, "")))
        {
            None => (None, None),
            Some((name, password)) => (decoded(name)?, decoded(password)?),
        };
        let hosts =
            hosts.split(',').map(|host| address(host, default_port)).collect::<Result<_>>()?;
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self {
            username,
            password,
            #[cfg(feature = "nats")]
            has_colon: user.is_some_and(|user| user.contains(':')),
            hosts,
            path,
        })
    }
}

/// Percent-decoded; `None` if nothing is there.
fn decoded(text: &str) -> Result<Option<String>> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Error::config("the user name or the password in the URL is not UTF-8"))?;
    Ok((!decoded.is_empty()).then(|| decoded.into_owned()))
}

fn address(text: &str, default_port: u16) -> Result<(String, u16)> {
    let wrong = || Error::config("a host in the URL is malformed; HOST:PORT is expected");
    // An IPv6 address stands in brackets.
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong());
    }
    let port = port.map_or(Ok(default_port), |port| port.parse().map_err(|_| wrong()))?;
    Ok((host.to_owned(), port))
}
