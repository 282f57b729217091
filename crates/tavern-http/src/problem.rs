//! What a client is told when its request cannot be answered: RFC 9457.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// Where the kinds are described; the slug is the fragment.
pub(crate) const PROBLEMS: &str =
    "https://github.com/tavern-rs/tavern/blob/main/crates/tavern-http/PROBLEMS.md";

macro_rules! kinds {
    ($($kind:ident $status:ident $slug:literal $title:literal;)*) => {
        /// What is wrong: each kind has one status, one title and one `type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind { $($kind),* }

        impl Kind {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),*];

            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status),* }
            }

            /// The fragment of the `type`.
            pub(crate) const fn slug(self) -> &'static str {
                match self { $(Self::$kind => $slug),* }
            }

            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title),* }
            }
        }
    };
}

kinds! {
    InvalidTopic BAD_REQUEST "invalid-topic" "The topic is not valid";
    InvalidScope BAD_REQUEST "invalid-scope" "The scope is not valid";
    InvalidId BAD_REQUEST "invalid-id" "The id is not valid";
    InvalidEvent BAD_REQUEST "invalid-event" "The event name is not valid";
    InvalidTtl BAD_REQUEST "invalid-ttl" "The time to live is not valid";
    InvalidData BAD_REQUEST "invalid-data" "The data is not text";
    InvalidParameter BAD_REQUEST "invalid-parameter" "A query parameter is not valid";
    UnknownParameter BAD_REQUEST "unknown-parameter" "There is no such query parameter";
    MissingTopic BAD_REQUEST "missing-topic" "No topic is named";
    TooManyTopics BAD_REQUEST "too-many-topics" "Too many topics for one stream";
    InvalidJson BAD_REQUEST "invalid-json" "The body is not JSON";
    InvalidMessage BAD_REQUEST "invalid-message" "The message is not valid";
    MalformedRequest BAD_REQUEST "malformed-request" "The request is not HTTP";
    UnreadableBody BAD_REQUEST "unreadable-body" "The body could not be read";
    ForeignOrigin FORBIDDEN "foreign-origin" "Pages of this origin may not publish";
    NotFound NOT_FOUND "not-found" "There is nothing here";
    MethodNotAllowed METHOD_NOT_ALLOWED "method-not-allowed" "The method is not answered here";
    BodyTimeout REQUEST_TIMEOUT "body-timeout" "The body took too long";
    IdConflict CONFLICT "id-conflict" "The id belongs to another message";
    TooLarge PAYLOAD_TOO_LARGE "too-large" "The request is too large";
    TooManyMessages PAYLOAD_TOO_LARGE "too-many-messages" "Too many messages in one request";
    UriTooLong URI_TOO_LONG "uri-too-long" "The URI is too long";
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "The content type is not understood";
    HeadTooLarge REQUEST_HEADER_FIELDS_TOO_LARGE "head-too-large" "The head of the request is too large";
    Internal INTERNAL_SERVER_ERROR "internal" "The server failed";
    SpoolFull SERVICE_UNAVAILABLE "spool-full" "The backend is away and the spool is full";
    BackendUnavailable SERVICE_UNAVAILABLE "backend-unavailable" "The backend is away";
    NotReady SERVICE_UNAVAILABLE "not-ready" "The node cannot deliver across processes";
    Closing SERVICE_UNAVAILABLE "closing" "The node is closing";
}

impl Kind {
    /// The whole `type`.
    pub(crate) fn uri(self) -> String {
        format!("{PROBLEMS}#{}", self.slug())
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_transient(self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE || self == Self::BodyTimeout
    }
}

/// An error response.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    /// A sentence a person can act on.
    pub(crate) detail: String,
    pub(crate) retry_after: Option<Duration>,
    /// Further sentences, one each.
    pub(crate) reasons: Vec<String>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None, reasons: Vec::new() }
    }

    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub(crate) fn reasons(mut self, reasons: Vec<String>) -> Self {
        self.reasons = reasons;
        self
    }
}

#[derive(Serialize)]
struct Members<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reasons: &'a [String],
}

/// The answer to a request that cannot be read and never gets to the router, for a server that
/// refuses it with `status` and lets one write the answer: the sentence is about hyper's limits.
/// `None` for a status that says something else.
///
/// The hub of `tavern serve` answers with it. Its connection is closed afterwards, as nobody knows
/// where the next request would begin.
#[must_use]
pub fn unreadable(status: StatusCode) -> Option<http::Response<Bytes>> {
    let (kind, detail) = match status {
        StatusCode::BAD_REQUEST => (
            Kind::MalformedRequest,
            "what arrived is not a request of HTTP/1.1: check the request line (method, URI with \
             everything but ASCII percent-encoded, version), the header lines, and \
             `content-length` and `transfer-encoding`",
        ),
        StatusCode::URI_TOO_LONG => (
            Kind::UriTooLong,
            "the URI has more than 65,534 bytes; wildcards such as `orders/*` or `news/**` name \
             many topics at once, and data goes into the body",
        ),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            Kind::HeadTooLarge,
            "the request line and the headers take more than 400 KiB, or there are more than 100 \
             headers; send fewer or shorter ones",
        ),
        _ => return None,
    };
    Some(Problem::new(kind, detail).into_bytes())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into_bytes().map(Body::from)
    }
}

impl Problem {
    fn into_bytes(self) -> http::Response<Bytes> {
        let status = self.kind.status();
        let members = Members {
            r#type: self.kind.uri(),
            title: self.kind.title(),
            status: status.as_u16(),
            detail: &self.detail,
            reasons: &self.reasons,
        };
        // Strings and a number always serialize; the empty body of the other arm is never sent.
        let body = serde_json::to_vec(&members).unwrap_or_default();
        let mut response = http::Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up, at least one: 0 would mean at once.
            let seconds = after.as_millis().div_ceil(1000).clamp(1, 3600);
            if let Ok(seconds) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(RETRY_AFTER, seconds);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests;
