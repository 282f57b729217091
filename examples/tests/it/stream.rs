//! A reader of `/events`.

use std::collections::VecDeque;

use tavern_sse::{Item, Parser};

use crate::process::{Server, soon};

/// An event, as a browser dispatches it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) id: String,
}

pub(crate) struct Stream {
    response: reqwest::Response,
    parser: Parser,
    events: VecDeque<Event>,
}

impl Stream {
    /// Opens `/events?` with this query, resuming behind `last` unless it is empty.
    pub(crate) async fn open(server: &Server, query: &str, last: &str) -> Self {
        let mut request = reqwest::Client::new().get(server.url(&format!("/events?{query}")));
        if !last.is_empty() {
            request = request.header("last-event-id", last);
        }
        let response = soon("the stream opens", request.send()).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, parser: Parser::new(), events: VecDeque::new() }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Event {
        // All of it, and not each read: heartbeats are no events.
        let next = async {
            loop {
                if let Some(event) = self.events.pop_front() {
                    return event;
                }
                assert!(self.read().await, "the stream has ended");
            }
        };
        soon("an event", next).await
    }

    /// Reads until the stream ends.
    pub(crate) async fn ends(&mut self) {
        soon("the stream ends", async { while self.read().await {} }).await;
    }

    async fn read(&mut self) -> bool {
        let Some(chunk) = self.response.chunk().await.unwrap() else { return false };
        for item in self.parser.push(&chunk) {
            if let Item::Block(block) = item.unwrap()
                && let Some(message) = block.message()
            {
                self.events.push_back(Event {
                    name: message.event.to_owned(),
                    data: message.data.to_owned(),
                    id: message.last_event_id.to_owned(),
                });
            }
        }
        true
    }
}
