//! `POST /publish`: one message, an array of them, or one a line.
//!
//! A single message that is not accepted is answered with its problem. Of several each has an answer of
//! its own, in order, under status 200; 202 if all of them wait in the spool. Only where nothing was
//! accepted and all of it may be sent again is the answer the first one's problem (503).

use std::fmt;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserializer;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tavern_backend::MessageEnvelope;

use crate::hub::Hub;
use crate::outcome::Answer;
use crate::problem::{Kind, Problem};
use crate::{ingest, origin};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

enum Format {
    Json,
    Ndjson,
}

pub(crate) async fn post(
    State(hub): State<Hub>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let config = hub.config();
    origin::check(&config.allow_origins, &headers)?;
    let format = Format::of(&headers)?;
    let body = ingest::read(&headers, body, config.max_body, config.body_timeout).await?;
    let max = config.max_messages;
    match format {
        Format::Json if is_array(&body) => {
            let items = array(&body, max)?;
            let answers =
                several(&hub, items.into_iter().map(|item| item.get().as_bytes())).await?;
            Ok(respond(status(&answers), JSON, json(&answers)))
        }
        Format::Json => one(&hub, envelope(&body)?).await,
        Format::Ndjson => {
            let lines = || body.split(|byte| *byte == b'\n').filter(|line| !is_blank(line));
            if lines().nth(max).is_some() {
                return Err(too_many(max));
            }
            let answers = several(&hub, lines()).await?;
            let lines: String = answers.iter().map(|answer| json(answer) + "\n").collect();
            Ok(respond(status(&answers), NDJSON, lines))
        }
    }
}

/// Publishes one message and answers with what became of it.
pub(crate) async fn one(hub: &Hub, envelope: MessageEnvelope) -> Result<Response, Problem> {
    let answer = Answer::from(hub.broker().publish_envelope(envelope).await?);
    let status = if answer.is_spooled() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(respond(status, JSON, json(&answer)))
}

/// Publishes those that can be read, and answers for each in order.
async fn several(hub: &Hub, texts: impl Iterator<Item = &[u8]>) -> Result<Vec<Answer>, Problem> {
    let mut envelopes = Vec::new();
    let read: Vec<Result<(), Problem>> =
        texts.map(|text| envelope(text).map(|envelope| envelopes.push(envelope))).collect();
    let mut outcomes = hub.broker().publish_all(envelopes).await.into_iter();
    let results: Vec<Result<_, Problem>> = read
        .into_iter()
        .map(|read| {
            read?;
            let lost = || Problem::new(Kind::Internal, "the broker did not answer for it");
            Ok(outcomes.next().ok_or_else(lost)??)
        })
        .collect();
    let again = |r: &Result<_, Problem>| matches!(r, Err(p) if p.kind.is_transient());
    let hopeless = !results.is_empty() && results.iter().all(again);
    results
        .into_iter()
        .map(|result| match result {
            Err(problem) if hopeless => Err(problem),
            Err(problem) => Ok(problem.into()),
            Ok(outcome) => Ok(Answer::from(outcome)),
        })
        .collect()
}

fn status(answers: &[Answer]) -> StatusCode {
    let waiting = !answers.is_empty() && answers.iter().all(Answer::is_spooled);
    if waiting { StatusCode::ACCEPTED } else { StatusCode::OK }
}

fn respond(status: StatusCode, content_type: HeaderValue, body: String) -> Response {
    (status, [(CONTENT_TYPE, content_type)], body).into_response()
}

fn json(value: &impl serde::Serialize) -> String {
    // Answers are strings, numbers and booleans: they always serialize.
    serde_json::to_string(value).unwrap_or_default()
}

fn envelope(text: &[u8]) -> Result<MessageEnvelope, Problem> {
    MessageEnvelope::from_json(text).map_err(|invalid| {
        let syntax = serde_json::from_slice::<IgnoredAny>(text).err();
        syntax.as_ref().map_or_else(|| invalid.into(), malformed)
    })
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Kind::InvalidJson, format!("the JSON breaks off or is malformed: {error}"))
}

fn too_many(max: usize) -> Problem {
    let detail = format!("more than {max} messages in one request; send them in several");
    Problem::new(Kind::TooManyMessages, detail)
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

fn is_array(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

impl Format {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let given = headers.get(CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()));
        let essence = given.as_deref().unwrap_or_default().split(';').next().unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" => Ok(Self::Ndjson),
            _ => {
                let given = given.map_or("none".to_owned(), |given| format!("`{given}`"));
                let detail = format!(
                    "the content type is {given}; send a message or an array of them as \
                     `application/json`, one a line as `application/x-ndjson`, or plain data to \
                     `/topics/{{topic}}`"
                );
                Err(Problem::new(Kind::UnsupportedMediaType, detail))
            }
        }
    }
}

/// The items of a JSON array, unread, `max` at most.
fn array(body: &[u8], max: usize) -> Result<Vec<&RawValue>, Problem> {
    struct Items(usize);

    impl<'de> Visitor<'de> for Items {
        /// `None`: too many.
        type Value = Option<Vec<&'de RawValue>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of messages")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                if items.len() == self.0 {
                    return Ok(None);
                }
                items.push(item);
            }
            Ok(Some(items))
        }
    }

    let mut json = serde_json::Deserializer::from_slice(body);
    let items = json.deserialize_seq(Items(max)).map_err(|error| malformed(&error))?;
    let items = items.ok_or_else(|| too_many(max))?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(items)
}
