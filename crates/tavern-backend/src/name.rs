//! The validated strings of the contract: parsed once at the door, cheap to clone, never checked again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Invalid;

/// The longest topic, filter, scope, id or event name, in bytes of UTF-8.
pub const MAX_NAME: usize = 255;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses and validates.
            ///
            /// # Errors
            ///
            /// [`Invalid`] with the rule that is broken.
            pub fn new(text: impl AsRef<str>) -> Result<Self, Invalid> {
                let text = text.as_ref();
                $check(text).map_err(|reason| Invalid::new($what, reason))?;
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Invalid;
            fn try_from(text: &str) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }

        impl TryFrom<&String> for $name {
            type Error = Invalid;
            fn try_from(text: &String) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }

        impl From<&Self> for $name {
            fn from(name: &Self) -> Self {
                name.clone()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// Where a message is published: 1–255 bytes of UTF-8 in segments split by `/`.
    ///
    /// No segment is empty, none is a wildcard (`*`, `**`), and there are no control characters.
    /// A first segment beginning with `$` is reserved for Tavern itself: see [`Topic::is_reserved`].
    Topic, "topic", check_topic
}

name! {
    /// Who may see a message: 1–255 bytes without CR, LF or NUL, for example `user:42`.
    ///
    /// Scoped messages reach only subscribers of that scope, unscoped messages only unscoped
    /// subscribers. There is no empty scope: `None` is the absence of one.
    Scope, "scope", check_line
}

name! {
    /// An id the publisher gives: 1–255 bytes without CR, LF or NUL, unique per [`Lane`](crate::Lane).
    MessageId, "id", check_line
}

name! {
    /// The name of an SSE event: 1–255 bytes without CR, LF or NUL.
    ///
    /// Names beginning with `tavern-` are refused: they are the control events, which no publisher
    /// can imitate.
    EventName, "event", check_event
}

impl Topic {
    /// A topic whose text was checked as part of a filter.
    pub(crate) fn from_checked(text: Arc<str>) -> Self {
        Self(text)
    }

    pub(crate) fn into_shared(self) -> Arc<str> {
        self.0
    }

    /// The segments, left to right; at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether this topic belongs to Tavern: its first segment begins with `$`.
    ///
    /// Reserved topics cannot be published to by an application and no wildcard matches them.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

pub(crate) fn check_segments(text: &str) -> Result<(), String> {
    check_length(text)?;
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        return Err(format!(
            "it contains the control character {:?}",
            c.escape_default().to_string()
        ));
    }
    if text.split('/').any(str::is_empty) {
        return Err(
            "a segment between slashes is empty (no leading, trailing or double `/`)".to_owned()
        );
    }
    Ok(())
}

fn check_topic(text: &str) -> Result<(), String> {
    check_segments(text)?;
    if let Some(wild) = text.split('/').find(|s| matches!(*s, "*" | "**")) {
        return Err(format!(
            "`{wild}` is a wildcard: subscribe to it, but publish to a plain topic"
        ));
    }
    Ok(())
}

fn check_line(text: &str) -> Result<(), String> {
    check_length(text)?;
    if text.contains(['\r', '\n', '\0']) {
        return Err("it contains a line break or NUL".to_owned());
    }
    Ok(())
}

fn check_event(text: &str) -> Result<(), String> {
    check_line(text)?;
    if text.starts_with("tavern-") {
        return Err("names beginning with `tavern-` are reserved for control events".to_owned());
    }
    Ok(())
}

fn check_length(text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err("it is empty".to_owned()),
        1..=MAX_NAME => Ok(()),
        n => Err(format!("it has {n} bytes, {MAX_NAME} at most are allowed")),
    }
}

#[cfg(test)]
mod tests;
