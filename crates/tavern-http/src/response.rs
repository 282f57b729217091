//! From a subscription to a response.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use tavern_broker::Subscription;

use crate::{SseBody, SseConfig};

/// The response that streams `subscription`: status 200, `text/event-stream`, and the headers that
/// keep caches and proxies from holding it back.
#[must_use]
pub fn sse_response(subscription: Subscription, config: &SseConfig) -> Response {
    stream(Body::new(SseBody::new(subscription, config)))
}

/// The response of a server that cannot take the stream now: status 200, a spread `retry:`, and the
/// end. Any other status would end an `EventSource` for good.
#[must_use]
pub fn come_back(config: &SseConfig) -> Response {
    stream(Body::from(spread_retry(config)))
}

/// The same, for a server that knows when it can: see [`Admission`](crate::Admission).
#[must_use]
pub fn come_back_after(wait: Duration) -> Response {
    stream(Body::from(tavern_sse::retry(wait)))
}

/// A stream's status and headers, around `body`.
pub(crate) fn stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // nginx buffers what it proxies unless it is told not to.
    const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    response
}

/// A `retry:` block with the configured time and its random part.
pub(crate) fn spread_retry(config: &SseConfig) -> Bytes {
    tavern_sse::retry(config.retry.saturating_add(spread(config.retry_spread)))
}

/// A random part of `time`, in whole milliseconds.
pub(crate) fn spread(time: Duration) -> Duration {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    // Without randomness clients come back a little more together; that is no reason to fail.
    let random = getrandom::u64().unwrap_or(0);
    Duration::from_millis(millis.checked_add(1).map_or(random, |millis| random % millis))
}
