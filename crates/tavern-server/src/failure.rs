//! Why the program ends without success, and with which exit code.

use std::fmt;

/// The reason for an exit code other than 0.
///
/// | code | meaning |
/// |---|---|
/// | 1 | it was tried and failed |
/// | 2 | what was asked for is wrong: arguments, environment, configuration file |
/// | 128 + n | ended at once by signal n, the second one |
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// It was tried and failed.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// What was asked for is wrong.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// A signal said to end at once.
    pub(crate) fn signal(number: u8) -> Self {
        Self { message: "ended at once".to_owned(), code: 128_u8.saturating_add(number) }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}
