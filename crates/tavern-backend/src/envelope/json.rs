//! The JSON form of an envelope.

use std::io;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::ser::Formatter;

use super::MessageEnvelope;
use crate::{EventName, Invalid, MessageId, Payload, Scope, Topic};

impl MessageEnvelope {
    /// The JSON form, byte for byte as Go's `encoding/json` (1.22 and later) writes it, `<`, `>`
    /// and `&` escaped.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Vec::with_capacity(64 + self.data.len());
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoFormatter);
        self.serialize(&mut serializer).expect("strings and numbers written to memory cannot fail");
        String::from_utf8(out).expect("text and escapes are UTF-8")
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the field and the rule that is broken.
    ///
    /// ```
    /// use tavern_backend::MessageEnvelope;
    ///
    /// let envelope = MessageEnvelope::from_json(br#"{"topic":"orders","data":"hello"}"#)?;
    /// assert_eq!(envelope.to_json(), r#"{"topic":"orders","data":"hello"}"#);
    ///
    /// let refused = MessageEnvelope::from_json(br#"{"topic":"a//b","data":""}"#).unwrap_err();
    /// assert_eq!(refused.what(), "topic");
    /// # Ok::<(), tavern_backend::Invalid>(())
    /// ```
    pub fn from_json(json: &[u8]) -> Result<Self, Invalid> {
        let fields: Fields = serde_json::from_slice(json).map_err(|e| {
            Invalid::new(
                "message",
                format!("a JSON object with `topic` and `data` is expected: {e}"),
            )
        })?;
        fields.try_into()
    }
}

impl Serialize for MessageEnvelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let present = [self.scope.is_some(), self.ttl.is_some(), self.id.is_some()];
        let present = present.into_iter().chain([self.event.is_some()]).filter(|p| *p).count();
        let mut fields = serializer.serialize_struct("MessageEnvelope", 2 + present)?;
        fields.serialize_field("topic", &self.topic)?;
        fields.serialize_field("data", &self.data)?;
        match &self.scope {
            Some(scope) => fields.serialize_field("scope", scope)?,
            None => fields.skip_field("scope")?,
        }
        match self.ttl_millis() {
            Some(ttl) => fields.serialize_field("ttl", &ttl)?,
            None => fields.skip_field("ttl")?,
        }
        match &self.id {
            Some(id) => fields.serialize_field("id", id)?,
            None => fields.skip_field("id")?,
        }
        match &self.event {
            Some(event) => fields.serialize_field("event", event)?,
            None => fields.skip_field("event")?,
        }
        fields.end()
    }
}

impl<'de> Deserialize<'de> for MessageEnvelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        Self::try_from(fields).map_err(serde::de::Error::custom)
    }
}

/// The fields before they are checked: any JSON value, so that a wrong type is reported with the
/// name of its field. `null` is the same as leaving a field out.
#[derive(Deserialize)]
struct Fields {
    topic: Option<Value>,
    data: Option<Value>,
    scope: Option<Value>,
    ttl: Option<Value>,
    id: Option<Value>,
    event: Option<Value>,
}

impl TryFrom<Fields> for MessageEnvelope {
    type Error = Invalid;
    fn try_from(fields: Fields) -> Result<Self, Invalid> {
        let topic = text("topic", fields.topic)?
            .ok_or_else(|| Invalid::new("topic", "it is missing: a message goes to one topic"))?;
        let data = text("data", fields.data)?.ok_or_else(|| {
            Invalid::new("data", "it is missing: send an empty string for an empty message")
        })?;
        Ok(Self {
            topic: Topic::new(topic)?,
            data: Payload::from(data),
            scope: text("scope", fields.scope)?.map(scope).transpose()?,
            ttl: fields.ttl.as_ref().map(ttl).transpose()?.filter(|ttl| !ttl.is_zero()),
            id: text("id", fields.id)?.map(MessageId::new).transpose()?,
            event: text("event", fields.event)?.map(EventName::new).transpose()?,
        })
    }
}

fn text(what: &'static str, value: Option<Value>) -> Result<Option<String>, Invalid> {
    let found = match value {
        None => return Ok(None),
        Some(Value::String(text)) => return Ok(Some(text)),
        Some(Value::Object(_) | Value::Array(_)) if what == "data" => {
            let reason = "a string is expected: JSON travels as text, with its quotes escaped";
            return Err(Invalid::new(what, reason));
        }
        Some(Value::Object(_)) => "an object",
        Some(Value::Array(_)) => "an array",
        Some(Value::Number(_)) => "a number",
        Some(Value::Bool(_)) => "a truth value",
        Some(Value::Null) => "null",
    };
    Err(Invalid::new(what, format!("a string is expected, not {found}")))
}

fn scope(text: String) -> Result<Scope, Invalid> {
    if text.is_empty() {
        let reason = "it is empty: leave the field out for a message that everybody may see";
        return Err(Invalid::new("scope", reason));
    }
    Scope::new(text)
}

fn ttl(value: &Value) -> Result<Duration, Invalid> {
    value.as_u64().map(Duration::from_millis).ok_or_else(|| {
        Invalid::new("ttl", "a whole number of milliseconds is expected, 0 for no expiry")
    })
}

/// Compact JSON with the characters escaped that Go escapes by default.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let escape = |c: char| match c {
            '<' => Some(br"\u003c"),
            '>' => Some(br"\u003e"),
            '&' => Some(br"\u0026"),
            '\u{2028}' => Some(br"\u2028"),
            '\u{2029}' => Some(br"\u2029"),
            _ => None,
        };
        let mut plain = 0;
        for (at, c) in fragment.char_indices() {
            if let Some(escaped) = escape(c) {
                writer.write_all(&fragment.as_bytes()[plain..at])?;
                writer.write_all(escaped)?;
                plain = at + c.len_utf8();
            }
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}
