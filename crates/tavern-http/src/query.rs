//! Query strings and paths: percent-decoded once, unknown parameters refused.

use percent_encoding::percent_decode_str;

use crate::problem::{Kind, Problem};

/// The parameters of a request, decoded to bytes, in order. All names are known.
#[derive(Debug)]
pub(crate) struct Query(Vec<(&'static str, Vec<u8>)>);

impl Query {
    /// Reads the query string, in which only `known` parameters may be.
    pub(crate) fn parse(query: Option<&str>, known: &[&'static str]) -> Result<Self, Problem> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let name = decode_form(name);
                let name =
                    known.iter().find(|known| known.as_bytes() == name).ok_or_else(|| {
                        let name = String::from_utf8_lossy(&name).into_owned();
                        let names = known.join("`, `");
                        let detail = format!(
                            "`{name}` is not a parameter of this request; it knows `{names}`"
                        );
                        Problem::new(Kind::UnknownParameter, detail)
                    })?;
                Ok((*name, decode_form(value)))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The values of a parameter that may come often, as text.
    pub(crate) fn all(&self, name: &'static str) -> impl Iterator<Item = Result<&str, Problem>> {
        self.0.iter().filter(move |(n, _)| *n == name).map(move |(_, value)| text(name, value))
    }

    /// The value of a parameter that may come once, as bytes.
    pub(crate) fn bytes(&self, name: &'static str) -> Result<Option<&[u8]>, Problem> {
        let mut values = self.0.iter().filter(|(n, _)| *n == name).map(|(_, value)| value);
        let value = values.next();
        if values.next().is_some() {
            let detail = format!("`{name}` comes more than once; give it once");
            return Err(Problem::new(Kind::InvalidParameter, detail));
        }
        Ok(value.map(Vec::as_slice))
    }

    /// The value of a parameter that may come once, as text.
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        self.bytes(name)?.map(|value| text(name, value)).transpose()
    }
}

/// Decodes a part of a path: `%2F` is a slash like any other.
pub(crate) fn decode_path(path: &str) -> Result<String, Problem> {
    percent_decode_str(path).decode_utf8().map(Into::into).map_err(|_| {
        let detail = "invalid topic: percent-decoded it is not UTF-8";
        Problem::new(Kind::InvalidTopic, detail)
    })
}

fn text<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, Problem> {
    std::str::from_utf8(value).map_err(|_| {
        let detail = format!("the value of `{name}`, percent-decoded, is not UTF-8");
        Problem::new(Kind::InvalidParameter, detail)
    })
}

/// Decodes as HTML forms and `URLSearchParams` encode: `+` is a space.
fn decode_form(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

#[cfg(test)]
mod tests;
