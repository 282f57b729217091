//! HTTP for Tavern: event streams over a shared-bytes body, publishing, and what operators look at.
//!
//! [`routes`] is everything the hub answers, as an axum router to serve or to nest; [`Hub`] gives its
//! parts, for an application that wants to put its own authorization in front of some of them.
//! [`sse_response`] turns one subscription into a response, for an application's own handler:
//!
//! ```
//! use axum::{Router, extract::State, http::HeaderMap, response::Response, routing::get};
//! use tavern_backend::LastEventId;
//! use tavern_broker::Broker;
//! use tavern_http::{SseConfig, sse_response};
//!
//! async fn orders(State(broker): State<Broker>, headers: HeaderMap) -> Response {
//!     let last = headers.get("last-event-id").and_then(LastEventId::parse);
//!     match broker.subscribe(["orders/*"]).resume(last).open() {
//!         Ok(subscription) => sse_response(subscription, &SseConfig::default()),
//!         Err(_) => tavern_http::come_back(&SseConfig::default()),
//!     }
//! }
//!
//! # fn app(broker: Broker) -> Router {
//! Router::new().route("/orders", get(orders)).with_state(broker)
//! # }
//! ```
//!
//! # Under stress
//!
//! A stream has no task and no queue of its own: it is polled by its connection, and takes what it
//! has not had from the broker's ring. What is queued for a connection leaves in one write. A
//! client that does not read holds back only itself. While the hub closes, has as many streams as it
//! may, or is come to by more at once than it [admits](HttpConfig::admit), an `EventSource` is answered
//! with status 200, a spread `retry:` and the end, because any other status would end it for good.
//! There is no `id:` in that answer: the client keeps its own, and misses nothing.
//!
//! # Errors
//!
//! Everything a client can do wrong is answered with `application/problem+json` (RFC 9457); the
#![doc = "kinds are listed in `PROBLEMS.md`, to which their `type` points."]

mod admission;
mod body;
mod config;
mod events;
mod hub;
mod ingest;
mod metrics;
mod observe;
mod origin;
mod outcome;
mod page;
mod problem;
mod publish;
mod query;
mod response;
mod topics;

pub use admission::{Admission, AdmitRate};
pub use body::SseBody;
pub use config::{HttpConfig, SseConfig};
pub use hub::{Hub, routes};
pub use origin::{AllowedOrigin, InvalidOrigin};
pub use problem::unreadable;
pub use response::{come_back, come_back_after, sse_response};
