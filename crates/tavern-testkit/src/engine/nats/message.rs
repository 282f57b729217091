//! What a NATS delivers.

/// A message that a NATS delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsMessage {
    /// Where it was published.
    pub subject: String,
    /// The subscription that it came by: as [`subscribe`](super::NatsConn::subscribe) returned it.
    pub subscription: u64,
    /// Where an answer is expected, if one is.
    pub reply: Option<String>,
    /// `NATS/1.0`, perhaps a status, and the headers, one a line; empty if there are none.
    pub headers: String,
    /// What it says.
    pub payload: Vec<u8>,
}

impl NatsMessage {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.lines().filter_map(|line| line.split_once(':'));
        pairs.map(|(key, value)| (key, value.trim())).find(|pair| pair.0 == name).map(|pair| pair.1)
    }

    /// The status in its headers, such as `503` where nobody listens.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let first = self.headers.lines().next()?;
        first.strip_prefix("NATS/1.0")?.split_whitespace().next()?.parse().ok()
    }
}
