//! A client over real HTTP that records what it is told.

use tavern_sse::{Block, Item, Parser};

/// One event as a browser would see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name: `message` where the stream gave none.
    pub name: String,
    /// Its data.
    pub data: String,
    /// The id in this very event, if it had one.
    pub id: Option<String>,
}

impl Event {
    /// What a browser makes of a block, if anything.
    pub(crate) fn of(block: &Block) -> Option<Self> {
        block.message().map(|message| Self {
            name: message.event.to_owned(),
            data: message.data.to_owned(),
            id: block.id.as_deref().map(ToOwned::to_owned),
        })
    }
}

/// A client that records events, drops its connection and resumes anywhere with its last id.
#[derive(Debug)]
pub struct SseRecorder {
    http: reqwest::Client,
    query: String,
    parser: Parser,
    response: Option<reqwest::Response>,
}

impl SseRecorder {
    /// A client of these topics, not connected yet.
    #[must_use]
    pub fn new(filters: &[String]) -> Self {
        let query = filters.iter().map(|f| format!("topic={}", f.replace('/', "%2F")));
        let query = query.collect::<Vec<_>>().join("&");
        Self { http: reqwest::Client::new(), query, parser: Parser::new(), response: None }
    }

    /// The same with a scope, which needs no escaping in a URL.
    #[must_use]
    pub fn with_scope(mut self, scope: &str) -> Self {
        self.query = format!("{}&scope={scope}", self.query);
        self
    }

    /// What it would send as `Last-Event-ID`.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Connects to a hub, with the last id if there is one. The connection of before is dropped.
    ///
    /// # Errors
    ///
    /// If the hub cannot be reached or does not answer 200.
    pub async fn connect(&mut self, url: &str) -> reqwest::Result<()> {
        self.disconnect();
        let mut request = self.http.get(format!("{url}/events?{}", self.query));
        if !self.last_event_id().is_empty() {
            request = request.header("last-event-id", self.last_event_id());
        }
        self.response = Some(request.send().await?.error_for_status()?);
        Ok(())
    }

    /// Drops the connection; what was received in part is forgotten, as a browser does.
    pub fn disconnect(&mut self) {
        self.response = None;
        self.parser.restart();
    }

    /// The events that the next piece of the stream completes; `None` if the connection ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is lost that was not read.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        let Some(Ok(Some(chunk))) = (match &mut self.response {
            Some(response) => Some(response.chunk().await),
            None => None,
        }) else {
            self.disconnect();
            return None;
        };
        let mut events = Vec::new();
        for item in self.parser.push(&chunk) {
            let Ok(Item::Block(block)) = item else { continue };
            events.extend(Event::of(&block));
        }
        Some(events)
    }
}
