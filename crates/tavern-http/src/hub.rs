//! The routes, and what their handlers share.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderValue, Method, StatusCode, Uri};
use tavern_broker::Broker;
use tokio::sync::Semaphore;

use crate::metrics::Traffic;
use crate::problem::{Kind, Problem};
use crate::{Admission, HttpConfig, events, observe, origin, page, publish, topics};

/// A broker behind HTTP, cheap to clone: the routes share its limits and counters.
///
/// [`Hub::router`] is all of it. An application that wants its own authorization in front of some
/// routes takes them one group at a time and merges them.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    broker: Broker,
    config: HttpConfig,
    streams: Option<Arc<Semaphore>>,
    admission: Option<Admission>,
    traffic: Arc<Traffic>,
}

/// Everything the hub answers: [`Hub::router`].
pub fn routes(broker: Broker, config: HttpConfig) -> Router {
    Hub::new(broker, config).router()
}

impl Hub {
    /// Puts `broker` behind HTTP.
    #[must_use]
    pub fn new(broker: Broker, config: HttpConfig) -> Self {
        let streams = config.max_streams;
        let streams = streams.map(|n| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS))));
        let admission = config.admit.map(Admission::new);
        Self(Arc::new(Shared { broker, config, streams, admission, traffic: Arc::default() }))
    }

    /// `GET /events`.
    pub fn streaming(&self) -> Router {
        Router::new().route("/events", get(events::get).head(events::head)).with_state(self.clone())
    }

    /// `POST /publish` and `POST /topics/{topic}`.
    pub fn publishing(&self) -> Router {
        Router::new()
            .route("/publish", post(publish::post))
            .route("/topics", post(topics::post))
            .route("/topics/", post(topics::post))
            .route("/topics/{*topic}", post(topics::post))
            .with_state(self.clone())
    }

    /// `GET /healthz`, `/readyz`, `/status`, `/metrics`, and the page at `/`.
    pub fn operating(&self) -> Router {
        Router::new()
            .route("/healthz", get(observe::healthz))
            .route("/readyz", get(observe::readyz))
            .route("/status", get(observe::status))
            .route("/metrics", get(observe::metrics))
            .route("/", get(page::get))
            .with_state(self.clone())
    }

    /// All of it, with answers for unknown paths and methods, and the configured origins.
    pub fn router(&self) -> Router {
        let router = self
            .streaming()
            .merge(self.publishing())
            .merge(self.operating())
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(axum::middleware::map_response(nosniff));
        match origin::cors(&self.0.config.allow_origins) {
            Some(cors) => router.layer(cors),
            None => router,
        }
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.0.broker
    }

    pub(crate) fn config(&self) -> &HttpConfig {
        &self.0.config
    }

    pub(crate) fn streams(&self) -> Option<&Arc<Semaphore>> {
        self.0.streams.as_ref()
    }

    pub(crate) fn admission(&self) -> Option<&Admission> {
        self.0.admission.as_ref()
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.0.traffic
    }
}

async fn nosniff(mut response: Response) -> Response {
    const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}

async fn not_found() -> Problem {
    let detail = "this path is not answered; these are: GET /events, POST /publish, \
                  POST /topics/{topic}, GET /healthz, /readyz, /status, /metrics and /";
    Problem::new(Kind::NotFound, detail)
}

/// The router adds the `Allow` header.
async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let path = uri.path();
    let detail = if path.starts_with("/topics") {
        "this path answers POST; to follow a topic: GET /events?topic=…"
    } else if path == "/publish" {
        "this path answers POST"
    } else {
        "this path answers GET and HEAD; to publish: POST /publish or /topics/{topic}"
    };
    Problem::new(Kind::MethodNotAllowed, detail).into_response()
}
