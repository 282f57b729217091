//! Values that fit on one line of a frame.

use std::fmt;

/// A field value that holds no line ending and no NUL, and so cannot break out of its line.
///
/// An empty value is allowed and has a meaning of its own: an empty id makes a client forget its last
/// event id, an empty event name is read as `message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldValue<'a>(&'a str);

impl<'a> FieldValue<'a> {
    /// Checks `value`.
    ///
    /// # Errors
    ///
    /// If `value` holds a carriage return, a line feed or a NUL. (The format forbids NUL only in an
    /// id, where it makes a browser ignore the field. No event name needs one either.)
    pub const fn new(value: &'a str) -> Result<Self, InvalidField> {
        // A `while`, because `for` cannot run at compile time.
        let bytes = value.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if matches!(bytes[at], b'\r' | b'\n' | 0) {
                return Err(InvalidField { at, found: bytes[at] });
            }
            at += 1;
        }
        Ok(Self(value))
    }

    /// Makes a value of a literal, for constants.
    ///
    /// ```
    /// use tavern_sse::FieldValue;
    /// const PRICE: FieldValue<'static> = FieldValue::from_static("price");
    /// ```
    ///
    /// # Panics
    ///
    /// If [`new`](Self::new) refuses the value; in a `const` this is an error of compilation.
    #[must_use]
    pub const fn from_static(value: &'static str) -> FieldValue<'static> {
        match FieldValue::new(value) {
            Ok(value) => value,
            Err(_) => panic!("field value with a carriage return, a line feed or a NUL"),
        }
    }

    /// The value as it was given.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl<'a> TryFrom<&'a str> for FieldValue<'a> {
    type Error = InvalidField;

    fn try_from(value: &'a str) -> Result<Self, Self::Error> {
        Self::new(value)
    }
}

impl AsRef<str> for FieldValue<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl fmt::Display for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A value that would end its line, or make a browser ignore it.
///
/// The message names the character and its place, never the value, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} at byte {at} of a field value", name(*.found))]
pub struct InvalidField {
    at: usize,
    found: u8,
}

impl InvalidField {
    /// Where the first refused character is, in bytes from the start of the value.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }
}

fn name(found: u8) -> &'static str {
    match found {
        b'\r' => "carriage return",
        b'\n' => "line feed",
        _ => "NUL",
    }
}

#[cfg(test)]
mod tests;
