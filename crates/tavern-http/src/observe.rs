//! What operators and probes ask: alive, ready, status, metrics.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use serde_json::json;
use tavern_broker::Status;

use crate::hub::Hub;
use crate::metrics;
use crate::problem::{Kind, Problem};

const NO_STORE: (http::HeaderName, &str) = (CACHE_CONTROL, "no-store");

/// What the node says of itself, and what HTTP adds.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    node: Status,
    http: serde_json::Value,
}

/// The process runs and answers.
pub(crate) async fn healthz() -> Response {
    ([NO_STORE], Json(json!({ "alive": true }))).into_response()
}

/// The node can deliver across processes; or why it cannot.
pub(crate) async fn readyz(State(hub): State<Hub>) -> Result<Response, Problem> {
    let readiness = hub.broker().readiness();
    if readiness.ready {
        return Ok(([NO_STORE], Json(json!({ "ready": true }))).into_response());
    }
    let detail = match readiness.reasons.as_slice() {
        [] => "the node does not say why; see its log".to_owned(),
        reasons => reasons.join("; "),
    };
    Err(Problem::new(Kind::NotReady, detail).reasons(readiness.reasons))
}

pub(crate) async fn status(State(hub): State<Hub>) -> Response {
    let status = Whole { node: hub.broker().status(), http: hub.traffic().status() };
    ([NO_STORE], Json(status)).into_response()
}

pub(crate) async fn metrics(State(hub): State<Hub>) -> Result<Response, Problem> {
    let text = metrics::encode(&hub.broker().status(), hub.broker(), hub.traffic());
    let text = text.map_err(|_| Problem::new(Kind::Internal, "the metrics cannot be written"))?;
    Ok(([NO_STORE, (CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
