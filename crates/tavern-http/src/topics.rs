//! `POST /topics/{topic}`: the body is the data.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Uri};
use tavern_backend::{EventName, MessageEnvelope, MessageId, Payload, Scope, Topic};

use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::query::{Query, decode_path};
use crate::{ingest, origin, publish};

const KNOWN: &[&str] = &["event", "id", "scope", "ttl"];

pub(crate) async fn post(
    State(hub): State<Hub>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let config = hub.config();
    origin::check(&config.allow_origins, &headers)?;
    // The router's own decoding answers in its own words, so the path is read here.
    let topic = uri.path().strip_prefix("/topics").unwrap_or_default();
    let topic = Topic::new(decode_path(topic.strip_prefix('/').unwrap_or_default())?)?;
    let query = Query::parse(uri.query(), KNOWN)?;
    let mut envelope = MessageEnvelope::new(topic, "");
    envelope.event = query.one("event")?.map(EventName::new).transpose()?;
    envelope.id = query.one("id")?.map(MessageId::new).transpose()?;
    envelope.scope = query.one("scope")?.map(Scope::new).transpose()?;
    envelope.ttl = query.one("ttl")?.map(ttl).transpose()?.filter(|ttl| !ttl.is_zero());
    let limit = hub.broker().bus().info().max_payload;
    let data = ingest::read(&headers, body, limit, config.body_timeout).await?;
    envelope.data = Payload::from_utf8(data)?;
    publish::one(&hub, envelope).await
}

fn ttl(text: &str) -> Result<Duration, Problem> {
    text.parse().map(Duration::from_millis).map_err(|_| {
        let detail = "invalid ttl: a whole number of milliseconds is expected, 0 for no limit";
        Problem::new(Kind::InvalidTtl, detail)
    })
}
