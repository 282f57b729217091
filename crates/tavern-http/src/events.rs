//! `GET /events`: the stream.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Uri};
use tavern_backend::{LastEventId, Scope, TopicFilter};
use tavern_broker::Error;

use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::query::Query;
use crate::{SseBody, come_back, come_back_after, response};

const KNOWN: &[&str] = &["topic", "scope", "lastEventId", "start"];

/// What a client asks for.
struct Wanted {
    filters: Vec<TopicFilter>,
    scope: Option<Scope>,
    last: Option<LastEventId>,
    oldest: bool,
}

pub(crate) async fn get(
    State(hub): State<Hub>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wanted = Wanted::parse(&hub, &uri, &headers)?;
    let sse = &hub.config().sse;
    let permit = match hub.streams() {
        None => None,
        Some(streams) => match Arc::clone(streams).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                hub.traffic().stream_refused();
                return Ok(come_back(sse));
            }
        },
    };
    if let Some(Err(wait)) = hub.admission().map(|admission| admission.admit(sse)) {
        hub.traffic().stream_deferred();
        return Ok(come_back_after(wait));
    }
    let filters = wanted.filters.iter().map(TopicFilter::as_str);
    let mut subscribe = hub.broker().subscribe(filters).resume(wanted.last);
    if let Some(scope) = &wanted.scope {
        subscribe = subscribe.scope(scope.as_str());
    }
    if wanted.oldest {
        subscribe = subscribe.from_oldest();
    }
    match subscribe.open() {
        Ok(subscription) => {
            hub.traffic().stream_opened();
            let body = SseBody::new(subscription, sse).counted(Arc::clone(hub.traffic()), permit);
            Ok(response::stream(Body::new(body)))
        }
        Err(Error::Closed) => {
            hub.traffic().stream_refused();
            Ok(come_back(sse))
        }
        Err(error) => Err(error.into()),
    }
}

/// What `GET` would answer, without a stream behind it.
pub(crate) async fn head(
    State(hub): State<Hub>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Wanted::parse(&hub, &uri, &headers)?;
    Ok(response::stream(Body::empty()))
}

impl Wanted {
    fn parse(hub: &Hub, uri: &Uri, headers: &HeaderMap) -> Result<Self, Problem> {
        let query = Query::parse(uri.query(), KNOWN)?;
        let filters = query
            .all("topic")
            .map(|topic| Ok(TopicFilter::new(topic?)?))
            .collect::<Result<Vec<_>, Problem>>()?;
        if filters.is_empty() {
            let detail = "name what to follow: `/events?topic=orders&topic=news/**`";
            return Err(Problem::new(Kind::MissingTopic, detail));
        }
        let max = hub.config().max_topics;
        if filters.len() > max {
            let detail = format!(
                "{} topics are named, {max} at most are accepted; a wildcard such as `orders/*` or \
                 `news/**` names many at once",
                filters.len()
            );
            return Err(Problem::new(Kind::TooManyTopics, detail));
        }
        let scope = query.one("scope")?.map(Scope::new).transpose()?;
        let oldest = match query.one("start")? {
            None | Some("now") => false,
            Some("oldest") => true,
            Some(_) => {
                let detail = "`start` is `now` or `oldest`";
                return Err(Problem::new(Kind::InvalidParameter, detail));
            }
        };
        // The parameter stays in the URL when a browser reconnects by itself; then the header is
        // newer. Both are bytes: a publisher's id in them need not be text any more.
        let header = headers.get("last-event-id").and_then(LastEventId::parse);
        let parameter = query.bytes("lastEventId")?.and_then(LastEventId::parse);
        Ok(Self { filters, scope, last: header.or(parameter), oldest })
    }
}
