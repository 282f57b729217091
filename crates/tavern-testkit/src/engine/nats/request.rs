//! Requests and their answers, those of JetStream among them.

use std::io;

use serde_json::Value;

use super::conn::{NatsConn, Said, answer, odd};

impl NatsConn {
    /// Publishes, and waits for one answer. An answer with a status, such as 503 where nobody
    /// listens, is an error.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: as [`flush`](Self::flush).
    pub async fn request(
        &mut self,
        subject: &str,
        payload: impl AsRef<[u8]>,
    ) -> io::Result<Vec<u8>> {
        self.request_with(subject, &[], payload.as_ref()).await
    }

    /// As [`request`](Self::request), with headers.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: as [`flush`](Self::flush).
    pub async fn request_with(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: &[u8],
    ) -> io::Result<Vec<u8>> {
        if self.inbox.is_none() {
            let prefix = format!("_INBOX.testkit-{:016x}", fastrand::u64(..));
            let subscription = self.subscribe(&format!("{prefix}.*")).await?;
            self.inbox = Some((subscription, prefix));
        }
        let Some((subscription, prefix)) = self.inbox.clone() else { return Err(odd("no inbox")) };
        self.requests += 1;
        let to = format!("{prefix}.{}", self.requests);
        self.publish_with(subject, Some(&to), headers, payload).await?;
        let message = answer(subject, async {
            loop {
                match self.read().await? {
                    Said::Message(message) if message.subject == to => return Ok(message),
                    // The answer to an earlier request, which nobody waits for any more.
                    Said::Message(message) if message.subscription == subscription => {}
                    Said::Message(message) => self.early.push_back(message),
                    Said::Pong | Said::Else => {}
                }
            }
        })
        .await?;
        match message.status() {
            Some(503) => Err(io::Error::new(io::ErrorKind::NotFound, no_responders(subject))),
            Some(status) => Err(io::Error::other(format!("{subject}: status {status}"))),
            None => Ok(message.payload),
        }
    }

    /// Asks JetStream: `subject` is what follows `$JS.API.`, such as `STREAM.INFO.orders`.
    ///
    /// # Errors
    ///
    /// An answer that is an error, as the server wrote it; else as [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: as [`flush`](Self::flush).
    pub async fn js(&mut self, subject: &str, body: Value) -> io::Result<Value> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let bytes = self.request(&format!("$JS.API.{subject}"), body).await?;
        checked(serde_json::from_slice(&bytes)?)
    }

    /// Publishes to a stream and waits for its acknowledgement.
    ///
    /// # Errors
    ///
    /// A refusal, as the server wrote it; else as [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: as [`flush`](Self::flush).
    pub async fn store(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: impl AsRef<[u8]>,
    ) -> io::Result<Value> {
        let bytes = self.request_with(subject, headers, payload.as_ref()).await?;
        checked(serde_json::from_slice(&bytes)?)
    }
}

fn checked(value: Value) -> io::Result<Value> {
    match value.get("error") {
        Some(error) if !error.is_null() => Err(io::Error::other(error.to_string())),
        _ => Ok(value),
    }
}

fn no_responders(subject: &str) -> String {
    format!("nobody listens on {subject}")
}
