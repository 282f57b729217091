//! `tavern publish`.

use std::time::Duration;

use serde::Deserialize;
use tavern::backend::{EventName, MessageEnvelope, MessageId, Payload, Scope, Topic};
use tokio::io::AsyncReadExt;

use super::{Hub, explain, refusal};
use crate::cli::PublishArgs;
use crate::failure::Failure;
use crate::output;

/// The node answers within its own patience, or with a ticket.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The hub's answer for one message.
#[derive(Debug, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Answer {
    Stored { id: String },
    Duplicate { id: String },
    Live,
    Spooled { trying_for_ms: u64 },
}

pub(crate) async fn run(args: PublishArgs) -> Result<(), Failure> {
    let hub = Hub::at(&args.hub.url)?;
    let envelope = envelope(args).await?;
    let response = hub
        .client()
        .post(hub.url("publish"))
        .header("content-type", "application/json")
        .timeout(TIMEOUT)
        .body(envelope.to_json())
        .send()
        .await
        .map_err(|error| {
            Failure::failed(format_args!("the hub does not answer: {}", explain(error)))
        })?;
    if !response.status().is_success() {
        return Err(Failure::failed(refusal(response).await));
    }
    let answer = response.json().await.map_err(|error| {
        Failure::failed(format_args!("the answer is no hub's: {}", explain(error)))
    })?;
    match answer {
        Answer::Stored { id } => output::line(format_args!("stored {id}")),
        Answer::Duplicate { id } => output::line(format_args!("duplicate {id}")),
        Answer::Live => output::line("live"),
        Answer::Spooled { trying_for_ms } => {
            output::error(format_args!(
                "tavern: the backend is away; the node keeps the message and tries for {:?}",
                Duration::from_millis(trying_for_ms)
            ));
            output::line("spooled")
        }
    }
}

async fn envelope(args: PublishArgs) -> Result<MessageEnvelope, Failure> {
    let data = match args.data {
        Some(data) if data != "-" => Payload::from(data),
        _ => {
            let mut data = Vec::new();
            tokio::io::stdin().read_to_end(&mut data).await.map_err(|error| {
                Failure::failed(format_args!("standard input cannot be read: {error}"))
            })?;
            Payload::from_utf8(data.into()).map_err(Failure::usage)?
        }
    };
    let mut envelope = MessageEnvelope::new(Topic::new(args.topic).map_err(Failure::usage)?, data);
    envelope.event = args.event.map(EventName::new).transpose().map_err(Failure::usage)?;
    envelope.id = args.id.map(MessageId::new).transpose().map_err(Failure::usage)?;
    envelope.scope = args.scope.map(Scope::new).transpose().map_err(Failure::usage)?;
    envelope.ttl = args.ttl.map(|ttl| ttl.0).filter(|ttl| !ttl.is_zero());
    Ok(envelope)
}
