//! Reading request bodies, within bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::problem::{Kind, Problem};

/// Reads a body of at most `limit` bytes that arrives within `timeout`.
///
/// # Errors
///
/// [`Kind::TooLarge`], [`Kind::BodyTimeout`], [`Kind::UnreadableBody`].
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    timeout: Duration,
) -> Result<Bytes, Problem> {
    let too_large = |size: String| {
        let detail = format!("the body has {size} bytes, {limit} at most are accepted");
        Problem::new(Kind::TooLarge, detail)
    };
    // Known to be too large, it need not arrive first.
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if let Some(size) = announced.filter(|size| usize::try_from(*size).is_ok_and(|n| n > limit)) {
        return Err(too_large(size.to_string()));
    }
    match tokio::time::timeout(timeout, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(too_large(format!("more than {limit}")))
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "a request's body could not be read");
            let detail = "the body broke off or is not framed as HTTP says; send it again";
            Err(Problem::new(Kind::UnreadableBody, detail))
        }
        Err(_) => {
            let seconds = timeout.as_secs_f32();
            let detail = format!("the body did not arrive within {seconds} s; send it faster");
            Err(Problem::new(Kind::BodyTimeout, detail))
        }
    }
}
