//! The requests of JetStream that are needed, in the server's own JSON.
//!
//! A stream's configuration is kept as the map it comes in: a server newer than this release may
//! have settings of which nothing is known here, and an update must hand them back untouched.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tavern_backend::Epoch;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use crate::failure::Failure;

type Result<T> = std::result::Result<T, Failure>;

/// JetStream as one connection reaches it.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) client: Client,
    /// `$JS.API.`, or that of a domain.
    prefix: String,
    pub(crate) timeout: Duration,
}

/// A stream, as its leader has it now.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamInfo {
    pub(crate) config: Map<String, Value>,
    /// When it was created: tells a stream from one that took its place.
    pub(crate) created: String,
    pub(crate) state: StreamState,
    #[serde(default)]
    pub(crate) cluster: Option<Cluster>,
    /// The leader's clock, from 2.10 on.
    #[serde(default)]
    pub(crate) ts: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamState {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Cluster {
    #[serde(default)]
    pub(crate) leader: Option<String>,
    #[serde(default)]
    pub(crate) replicas: Vec<Peer>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// Whether it has what the leader has.
    #[serde(default)]
    pub(crate) current: bool,
    #[serde(default)]
    pub(crate) offline: bool,
}

/// A stored message.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) subject: String,
    /// The server's stamp, in milliseconds since the Unix epoch.
    pub(crate) time: i64,
    pub(crate) payload: Bytes,
}

/// What a message is asked for by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    Seq(u64),
    /// The first at or above a seq.
    From(u64),
    /// The first of a subject at or above a seq.
    FromOf(u64, &'a str),
    LastOf(&'a str),
}

/// What the server says to something that was published to a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct Ack {
    #[serde(default)]
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) duplicate: bool,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    code: u32,
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::of_server(refusal.code, refusal.err_code, &refusal.description)
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Refused { error: Refusal },
    Done(T),
}

/// A question is put again after this: one that comes while a stream has no leader is heard by
/// nobody, and an election takes seconds.
const AGAIN: Duration = Duration::from_millis(500);

/// Another consumer, or a stream of that name with other settings, is there.
pub(crate) const NAME_IN_USE: u32 = 10058;
/// The last seq of the subject is another than expected, or may be: one that is on its way through a
/// cluster counts (from 2.11 on).
pub(crate) const WRONG_LAST: [u32; 2] = [10071, 10164];
/// The last message of the stream has another id than expected.
const WRONG_LAST_ID: u32 = 10070;
/// A message of this id is on its way through a cluster, and may be stored (from 2.11 on).
const IN_PROCESS: u32 = 10158;

impl Api {
    pub(crate) fn new(client: Client, domain: Option<&str>, timeout: Duration) -> Self {
        let prefix = match domain {
            None => "$JS.API.".to_owned(),
            Some(domain) => format!("$JS.{domain}.API."),
        };
        Self { client, prefix, timeout }
    }

    /// Asks something that changes nothing, until there is an answer.
    async fn ask<T: DeserializeOwned>(&self, verb: &str, body: &Value) -> Result<T> {
        let mut asked = FuturesUnordered::new();
        let deadline = Instant::now() + self.timeout;
        loop {
            asked.push(self.send(verb, body));
            let again = deadline.min(Instant::now() + AGAIN);
            if let Ok(Some(answer)) = tokio::time::timeout_at(again, asked.next()).await {
                return read(verb, &answer?);
            }
            if again >= deadline {
                return Err(Failure::of_link(
                    "JetStream does not answer in time: does the stream have a leader, that is, \
                     do most of its servers run?",
                ));
            }
        }
    }

    async fn request<T: DeserializeOwned>(&self, verb: &str, body: &Value) -> Result<T> {
        read(verb, &self.send(verb, body).await?)
    }

    async fn send(&self, verb: &str, body: &Value) -> Result<Message> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::new().payload(body).timeout(Some(self.timeout));
        Ok(self.client.send_request(format!("{}{verb}", self.prefix), request).await?)
    }

    /// The stream as its leader has it; `None` if there is none.
    pub(crate) async fn stream(&self, name: &str) -> Result<Option<StreamInfo>> {
        match self.ask(&format!("STREAM.INFO.{name}"), &Value::Null).await {
            Ok(info) => Ok(Some(info)),
            // Without a code it is nobody who answers, which says nothing of the stream.
            Err(failure) if failure.absent && failure.code != 0 => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Creates a stream. `false` if one of that name is there with other settings.
    pub(crate) async fn create(&self, config: &Map<String, Value>) -> Result<bool> {
        self.change("CREATE", config).await
    }

    pub(crate) async fn update(&self, config: &Map<String, Value>) -> Result<()> {
        self.change("UPDATE", config).await.map(drop)
    }

    async fn change(&self, verb: &str, config: &Map<String, Value>) -> Result<bool> {
        let name = config.get("name").and_then(Value::as_str).unwrap_or_default();
        let body = Value::Object(config.clone());
        match self.request::<Map<_, _>>(&format!("STREAM.{verb}.{name}"), &body).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.code == NAME_IN_USE => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// A stored message, on the word of the stream's leader; `None` if it is not there.
    pub(crate) async fn get(&self, stream: &str, which: Which<'_>) -> Result<Option<Stored>> {
        #[derive(Deserialize)]
        struct Found {
            message: Raw,
        }
        #[derive(Deserialize)]
        struct Raw {
            subject: String,
            seq: u64,
            #[serde(default)]
            time: String,
            #[serde(default)]
            data: String,
        }
        let body = match which {
            Which::Seq(seq) => json!({ "seq": seq }),
            Which::From(seq) => json!({ "seq": seq, "next_by_subj": ">" }),
            Which::FromOf(seq, subject) => json!({ "seq": seq, "next_by_subj": subject }),
            Which::LastOf(subject) => json!({ "last_by_subj": subject }),
        };
        match self.ask::<Found>(&format!("STREAM.MSG.GET.{stream}"), &body).await {
            Ok(Found { message: Raw { subject, seq, time, data } }) => {
                let payload = STANDARD.decode(data).map_err(|_| Failure::strange("MSG.GET"))?;
                let time = parse_time(&time).unwrap_or_default();
                Ok(Some(Stored { seq, subject, time, payload: payload.into() }))
            }
            Err(failure) if failure.absent && failure.code == 10037 => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Publishes to a stream and waits for its word.
    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Ack> {
        let request = Request::new().headers(headers).payload(payload).timeout(Some(self.timeout));
        let answer = self.client.send_request(subject, request).await?;
        Ack::read(&answer)
    }

    /// Waits until the stream that takes `subject` has stored what its servers were given before: a
    /// publish that goes the same way, and cannot succeed, as it is to follow a message that there
    /// never was.
    pub(crate) async fn overtake_nothing(&self, subject: String) -> Result<()> {
        let never = Epoch::random().map_err(|error| Failure::new(error.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Msg-Id", format!("never-{never}"));
        match self.publish(subject, headers, Bytes::new()).await {
            Err(failure) if failure.code == WRONG_LAST_ID => Ok(()),
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::strange("a publish that cannot succeed")),
        }
    }

    /// Creates a consumer that hands out what a stream has, and ends by itself soon after nobody
    /// asks it any more. Returns its name and the time on the server.
    pub(crate) async fn create_consumer(
        &self,
        stream: &str,
        from: u64,
        filter: Option<&str>,
        headers_only: bool,
    ) -> Result<(String, String)> {
        #[derive(Deserialize)]
        struct Created {
            name: String,
            created: String,
        }
        let mut config = json!({
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": from.max(1),
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": true,
            "num_replicas": 1,
            "inactive_threshold": 5_000_000_000_u64,
        });
        if headers_only {
            config["headers_only"] = true.into();
        }
        if let Some(filter) = filter {
            config["filter_subject"] = filter.into();
        }
        let body = json!({ "stream_name": stream, "config": config });
        let created: Created = self.request(&format!("CONSUMER.CREATE.{stream}"), &body).await?;
        Ok((created.name, created.created))
    }

    pub(crate) async fn delete_consumer(&self, stream: &str, name: &str) -> Result<()> {
        self.request::<Map<_, _>>(&format!("CONSUMER.DELETE.{stream}.{name}"), &Value::Null)
            .await
            .map(drop)
    }

    /// The subject on which a consumer is asked for messages.
    pub(crate) fn next_of(&self, stream: &str, consumer: &str) -> String {
        format!("{}CONSUMER.MSG.NEXT.{stream}.{consumer}", self.prefix)
    }
}

fn read<T: DeserializeOwned>(verb: &str, message: &Message) -> Result<T> {
    match serde_json::from_slice(&message.payload) {
        Ok(Answer::Done(answer)) => Ok(answer),
        Ok(Answer::Refused { error }) => Err(error.into()),
        Err(_) => Err(Failure::strange(verb)),
    }
}

impl Ack {
    pub(crate) fn read(answer: &Message) -> Result<Self> {
        if answer.status.is_some_and(|status| status.as_u16() == 503) {
            return Err(Failure::nobody());
        }
        let ack: Self = serde_json::from_slice(&answer.payload)
            .map_err(|_| Failure::strange("a publish").in_doubt())?;
        match ack.error {
            Some(refusal) => match Failure::from(refusal) {
                failure if failure.code == IN_PROCESS => Err(failure.in_doubt()),
                failure => Err(failure),
            },
            None => Ok(ack),
        }
    }
}

/// A time as the server writes it, in milliseconds since the Unix epoch.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests;
