//! The data of a message: shared bytes, known to be UTF-8.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Invalid;

/// The data of a message: UTF-8 in shared bytes, so that a clone costs a reference count.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Payload(ByteString);

impl Payload {
    /// From bytes that must be UTF-8; nothing is copied.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if they are not. Server-Sent Events carry text only; encode binary data first.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, Invalid> {
        ByteString::try_from(bytes).map(Self).map_err(|e| {
            Invalid::new(
                "data",
                format!("it is not UTF-8 ({e}); encode binary data, as base64 for example"),
            )
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        self.0.as_bytes()
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl AsRef<str> for Payload {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}
