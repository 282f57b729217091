//! The control events' form on the wire. Messages are encoded when they arrive.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tavern_backend::{Cursor, EventName, Payload};
use tavern_sse::{FieldValue, Frame};

use crate::delivery::{Degraded, Delivery, Direct, Gap, Reconnected, Snapshot};

/// The bytes of a delivery.
pub(crate) fn delivery(delivery: &Delivery) -> Bytes {
    match delivery {
        Delivery::Message(message) => message.encoded().clone(),
        Delivery::Cursor(cursor) => cursor_event(*cursor),
        Delivery::Snapshot(Snapshot { data, event, .. })
        | Delivery::Direct(Direct { data, event }) => plain_event(event.as_ref(), data),
        Delivery::Gap(gap) => gap_event(gap),
        Delivery::Truncated(truncated) => control("tavern-replay-truncated", None, truncated),
        Delivery::Reconnected(reconnected) => reconnected_event(*reconnected),
        Delivery::Degraded(degraded) => degraded_event("tavern-degraded", degraded),
        Delivery::Recovered(degraded) => degraded_event("tavern-recovered", degraded),
        Delivery::Closing(retry) => retry_block(*retry),
    }
}

/// `event: tavern-cursor` with an id and an empty data line: Firefox and WebKit do not apply the id
/// of a block without data.
fn cursor_event(cursor: Cursor) -> Bytes {
    encode(Some("tavern-cursor"), Some(cursor), "")
}

/// An event of the application without a place in the log.
fn plain_event(event: Option<&EventName>, data: &Payload) -> Bytes {
    encode(event.map(EventName::as_str), None, data.as_str())
}

fn gap_event(gap: &Gap) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        last_event_id: &'a str,
        reason: &'a str,
        topics: &'a [String],
    }
    let data = Data {
        last_event_id: &gap.last_event_id,
        reason: gap.reason.as_str(),
        topics: &gap.topics,
    };
    // No id: a client cut off here comes back with the position before the gap, and is told again.
    control("tavern-replay-gap", None, &data)
}

fn reconnected_event(reconnected: Reconnected) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        replay_delivered: u64,
        replay_dropped: u64,
        complete: bool,
    }
    let Reconnected { delivered, dropped, complete, cursor, .. } = reconnected;
    let data = Data { replay_delivered: delivered, replay_dropped: dropped, complete };
    control("tavern-reconnected", Some(cursor), &data)
}

fn degraded_event(name: &str, degraded: &Degraded) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        backend: &'a str,
        since_ms: u64,
    }
    let since_ms = u64::try_from(degraded.since.as_millis()).unwrap_or(u64::MAX);
    control(name, None, &Data { backend: degraded.backend, since_ms })
}

fn retry_block(retry: Duration) -> Bytes {
    Frame { retry: Some(retry), ..Frame::default() }.encode().bytes
}

fn control<T: Serialize>(name: &str, cursor: Option<Cursor>, data: &T) -> Bytes {
    // Structs of strings, numbers and lists of strings always have a JSON form.
    let json = serde_json::to_string(data).unwrap_or_default();
    encode(Some(name), cursor, &json)
}

fn encode(event: Option<&str>, cursor: Option<Cursor>, data: &str) -> Bytes {
    let id = cursor.map(|cursor| cursor.to_string());
    let frame = Frame {
        id: id.as_deref().and_then(|id| FieldValue::new(id).ok()),
        event: event.and_then(|event| FieldValue::new(event).ok()),
        data: Some(data),
        ..Frame::default()
    };
    frame.encode().bytes
}
