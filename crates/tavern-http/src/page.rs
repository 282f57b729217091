//! `GET /`: a small live page in one file, without anything from elsewhere.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};

use crate::problem::{Kind, Problem};

const PAGE: &str = include_str!("page.html");

/// The page; only its own script and style run, told by a nonce that no other response has.
pub(crate) async fn get() -> Result<Response, Problem> {
    let nonce = getrandom::u64().and_then(|a| Ok(format!("{a:016x}{:016x}", getrandom::u64()?)));
    let nonce = nonce.map_err(|error| {
        tracing::error!(%error, "the system has no randomness to give");
        Problem::new(Kind::Internal, "the system has no randomness to give; try again")
    })?;
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (CONTENT_SECURITY_POLICY, policy),
    ];
    Ok((headers, PAGE.replace("{nonce}", &nonce)).into_response())
}
