//! Which pages of other sites may read and publish.

use std::str::FromStr;

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::problem::{Kind, Problem};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// An origin whose pages may read streams and publish: `https://app.example`, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin(Allowed);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Any,
    Exact(HeaderValue),
}

/// A text that is neither an origin nor `*`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an origin; write `https://app.example`, `http://localhost:3000`, or `*` for all"
)]
pub struct InvalidOrigin(String);

impl FromStr for AllowedOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text == "*" {
            return Ok(Self(Allowed::Any));
        }
        let invalid = || InvalidOrigin(text.to_owned());
        let (scheme, authority) = text.split_once("://").ok_or_else(invalid)?;
        // Browsers compare and send origins in lower case, without a slash at the end.
        let canonical = !text.contains(char::is_uppercase)
            && matches!(scheme, "http" | "https")
            && !authority.contains(['/', '?', '#', '@', '*'])
            && authority.parse::<http::uri::Authority>().is_ok();
        let value = HeaderValue::from_str(text).ok().filter(|_| canonical).ok_or_else(invalid)?;
        Ok(Self(Allowed::Exact(value)))
    }
}

/// The layer that lets the pages of `origins` in; `None` if there are none.
pub(crate) fn cors(origins: &[AllowedOrigin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers([CONTENT_TYPE, LAST_EVENT_ID]);
    let exact: Option<Vec<_>> = origins
        .iter()
        .map(|origin| match &origin.0 {
            Allowed::Any => None,
            Allowed::Exact(value) => Some(value.clone()),
        })
        .collect();
    Some(match exact {
        Some(exact) => layer.allow_origin(AllowOrigin::list(exact)),
        None => layer.allow_origin(Any),
    })
}

/// Refuses to publish for a page of another site that is not allowed.
///
/// A browser sends a form or text to any address without asking first, also to a hub on the
/// loopback of the person who looks at the page. It says who asks, though.
///
/// # Errors
///
/// [`Kind::ForeignOrigin`].
pub(crate) fn check(origins: &[AllowedOrigin], headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let allowed = origins.iter().any(|allowed| match &allowed.0 {
        Allowed::Any => true,
        Allowed::Exact(value) => value == origin,
    });
    // Behind a proxy the `Host` may not be the one that the browser sees; what the browser says of
    // itself then still holds.
    let own = match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(site) => matches!(site, b"same-origin" | b"none"),
        None => same_host(origin, headers.get(HOST)),
    };
    if allowed || own {
        return Ok(());
    }
    let origin = String::from_utf8_lossy(origin.as_bytes());
    let detail = format!(
        "pages of `{origin}` may not publish here; the operator can allow it with `--allow-origin`"
    );
    Err(Problem::new(Kind::ForeignOrigin, detail))
}

fn same_host(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let origin = origin.as_ref().and_then(Uri::authority).map(http::uri::Authority::as_str);
    let host = host.and_then(|host| host.to_str().ok());
    origin.is_some() && origin == host
}

#[cfg(test)]
mod tests;
