//! The end of a wait, as an error.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::wait::patience;

/// The end of one wait: asked between two looks at the condition.
#[derive(Debug)]
pub(super) struct Deadline {
    what: String,
    end: Instant,
    last: Option<String>,
}

impl Deadline {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), end: Instant::now() + patience(), last: None }
    }

    /// Remembers what was seen last, for the error in the end.
    pub(super) fn saw(&mut self, last: impl Display) {
        self.last = Some(last.to_string());
    }

    /// Waits a moment before the next look.
    ///
    /// # Errors
    ///
    /// When the patience is over.
    pub(super) async fn tick(&self) -> io::Result<()> {
        if Instant::now() < self.end {
            tokio::time::sleep(Duration::from_millis(5)).await;
            return Ok(());
        }
        let seen = self.last.as_deref().unwrap_or("nothing");
        let text = format!("waited in vain: {}; seen last: {seen}", self.what);
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    }
}
