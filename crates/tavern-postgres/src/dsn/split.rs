//! An address taken apart: what is read here, and what goes to the driver.

use tavern_backend::{Error, Result};

/// What the driver does not know.
const OURS: [&str; 5] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "passfile"];

/// A URL without the parameters that are read here, and those. As `libpq` reads it, `?` may be in a
/// password as it is. What would make a part of a password the host's name is refused: an error of
/// the connection would show it.
pub(super) fn url(text: &str) -> Result<(String, Vec<(String, String)>)> {
    let ambiguous = || {
        Error::config(
            "the user or the password in the database's address has a character that must be \
             percent-encoded: `@` is `%40`, `/` is `%2F`, `:` in a user is `%3A`, `?` in a user is `%3F`",
        )
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(ambiguous)?;
    let path = rest.find('/').unwrap_or(rest.len());
    let (user, rest) = match rest.get(..path).and_then(|before| before.find('@')) {
        Some(at) => rest.split_at(at + 1),
        None => ("", rest),
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let name = user.split(':').next().unwrap_or_default();
    if place.contains('@') || name.contains('?') {
        return Err(ambiguous());
    }
    let (mut rest, mut ours) = (Vec::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if OURS.contains(&key) {
            let value = percent_encoding::percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| Error::config(format!("`{key}` is not UTF-8")))?;
            ours.push((key.to_owned(), value.into_owned()));
        } else {
            // The driver looks for the end of the user everywhere.
            rest.push(pair.replace('@', "%40"));
        }
    }
    let between = if rest.is_empty() { "" } else { "?" };
    Ok((format!("{scheme}://{user}{place}{between}{}", rest.join("&")), ours))
}

/// The same of pairs: `key=value` or `key='va\'lue'`, with spaces in between.
pub(super) fn pairs(text: &str) -> Result<(String, Vec<(String, String)>)> {
    let wrong = || Error::config("the database's address is a URL or pairs of `key=value`");
    let (mut rest, mut ours) = (Vec::new(), Vec::new());
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            break;
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        chars.next_if_eq(&'=').ok_or_else(wrong)?;
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next() {
                Some('\\') => value.push(chars.next().ok_or_else(wrong)?),
                Some('\'') if quoted => break,
                None if quoted => return Err(wrong()),
                None => break,
                Some(c) if !quoted && c.is_whitespace() => break,
                Some(c) => value.push(c),
            }
        }
        if OURS.contains(&key.as_str()) {
            ours.push((key, value));
        } else {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            rest.push(format!("{key}='{value}'"));
        }
    }
    Ok((rest.join(" "), ours))
}
