//! A reader of the demonstration: what a browser's `EventSource` does, with a record of it.

use std::time::Duration;

use reqwest::Response;
use tavern::Cursor;
use tavern_sse::{Item, Parser};
use tokio::time::{Instant, timeout_at};

use super::node::Node;
use crate::client::{explain, refusal};
use crate::failure::Failure;

/// A message that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) id: String,
    pub(crate) data: String,
    pub(crate) at: Instant,
}

/// An open stream, with the record of all streams of this reader.
#[derive(Debug)]
pub(crate) struct Reader {
    topics: &'static str,
    parser: Parser,
    stream: Option<Response>,
    /// Every message, in the order of arrival.
    pub(crate) arrivals: Vec<Arrival>,
    /// The data of each `tavern-reconnected`.
    pub(crate) reconnected: Vec<String>,
    /// The data of each `tavern-replay-gap`.
    pub(crate) gaps: Vec<String>,
}

impl Reader {
    /// A reader of `topics` that has read up to `last_event_id`.
    pub(crate) fn new(topics: &'static str, last_event_id: &str) -> Self {
        Self {
            topics,
            parser: Parser::new().with_last_event_id(last_event_id),
            stream: None,
            arrivals: Vec::new(),
            reconnected: Vec::new(),
            gaps: Vec::new(),
        }
    }

    pub(crate) fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Opens a stream on `node`, behind what was read before.
    pub(crate) async fn open(&mut self, node: &Node) -> Result<(), Failure> {
        self.parser.restart();
        let mut url = node.hub.url("events");
        url.query_pairs_mut().append_pair("topic", self.topics);
        let mut request = node.hub.client().get(url);
        if !self.last_event_id().is_empty() {
            request = request.header("last-event-id", self.last_event_id());
        }
        let response = request.send().await.map_err(|error| {
            Failure::failed(format_args!("node {} does not answer: {}", node.name, explain(error)))
        })?;
        if !response.status().is_success() {
            return Err(Failure::failed(refusal(response).await));
        }
        self.stream = Some(response);
        Ok(())
    }

    /// Reads until `enough`, or fails after `patience`.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + patience;
        while !enough(self) {
            let Some(stream) = &mut self.stream else {
                return Err(Failure::failed(format_args!("no stream is open to wait for {what}")));
            };
            let chunk = match timeout_at(deadline, stream.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(_) => {
                    return Err(Failure::failed(format_args!(
                        "the stream ended while waiting for {what}"
                    )));
                }
                Err(_) => {
                    return Err(Failure::failed(format_args!(
                        "{what} did not come within {patience:?}"
                    )));
                }
            };
            self.take(&chunk)?;
        }
        Ok(())
    }

    /// Reads on until the stream is cut.
    pub(crate) async fn until_cut(&mut self, patience: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + patience;
        while let Some(stream) = &mut self.stream {
            match timeout_at(deadline, stream.chunk()).await {
                Ok(Ok(Some(chunk))) => self.take(&chunk)?,
                Ok(_) => self.stream = None,
                Err(_) => return Err(Failure::failed("the stream of a killed node did not end")),
            }
        }
        Ok(())
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let at = Instant::now();
        for item in self.parser.push(chunk) {
            let Item::Block(block) = item.map_err(Failure::failed)? else { continue };
            let Some(message) = block.message() else { continue };
            let data = message.data.to_owned();
            match message.event {
                "tavern-reconnected" => self.reconnected.push(data),
                "tavern-replay-gap" => self.gaps.push(data),
                control if control.starts_with("tavern-") => {}
                _ => {
                    let id = block.id.as_deref().unwrap_or_default().to_owned();
                    self.arrivals.push(Arrival { id, data, at });
                }
            }
        }
        Ok(())
    }
}

/// The place in the log that an id names.
pub(crate) fn seq(id: &str) -> Option<u64> {
    let front = id.split('~').next()?;
    front.parse::<Cursor>().ok().map(|cursor| cursor.0.seq)
}
