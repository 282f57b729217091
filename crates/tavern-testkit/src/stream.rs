//! A plain reader of one event stream over HTTP, for tests of servers.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use tavern_sse::{Block, Item, Parser};

use crate::recorder::Event;
use crate::wait::within;

/// An event stream over HTTP, read as far as a test asks for. Each wait has an end.
///
/// An [`SseRecorder`](crate::SseRecorder) is a client that drops and resumes; this is a stream.
#[derive(Debug)]
pub struct SseStream {
    response: Response,
    parser: Parser,
    items: VecDeque<Item>,
}

impl SseStream {
    /// The stream that a server answers with.
    ///
    /// # Panics
    ///
    /// If the answer is none.
    #[must_use]
    #[track_caller]
    pub fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{response:?}");
        Self { response, parser: Parser::new(), items: VecDeque::new() }
    }

    /// The answer's headers.
    #[must_use]
    pub fn headers(&self) -> &reqwest::header::HeaderMap {
        self.response.headers()
    }

    /// The next item; `None` once the stream has ended in order.
    ///
    /// # Panics
    ///
    /// If it takes too long, the connection breaks, or what comes is no event stream.
    pub async fn item(&mut self) -> Option<Item> {
        while self.items.is_empty() {
            let chunk = within("a chunk of the stream", self.response.chunk()).await;
            let chunk = chunk.expect("the connection holds")?;
            let items = self.parser.push(&chunk);
            self.items.extend(items.map(|item| item.expect("an event stream")));
        }
        self.items.pop_front()
    }

    /// The next block, whatever else comes before it.
    ///
    /// # Panics
    ///
    /// As [`item`](Self::item), and if the stream ends.
    pub async fn block(&mut self) -> Block {
        // All of it, and not each read: heartbeats are no blocks.
        within("a block of the stream", async {
            loop {
                if let Item::Block(block) = self.item().await.expect("the stream goes on") {
                    return block;
                }
            }
        })
        .await
    }

    /// The next event that a browser would see.
    ///
    /// # Panics
    ///
    /// As [`block`](Self::block).
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = Event::of(&self.block().await) {
                return event;
            }
        }
    }

    /// The next event of this name, those of other names passed over.
    ///
    /// # Panics
    ///
    /// As [`block`](Self::block).
    pub async fn event(&mut self, name: &str) -> Event {
        within(name, async {
            loop {
                let event = self.next().await;
                if event.name == name {
                    return event;
                }
            }
        })
        .await
    }

    /// The data of the next `message`, and its id.
    ///
    /// # Panics
    ///
    /// As [`block`](Self::block), and if it has no id.
    pub async fn message(&mut self) -> (String, String) {
        let Event { data, id, .. } = self.event("message").await;
        (data, id.expect("a message has an id"))
    }

    /// The data of the next `message`.
    ///
    /// # Panics
    ///
    /// As [`block`](Self::block).
    pub async fn data(&mut self) -> String {
        self.event("message").await.data
    }

    /// The position that a new stream begins at, once it stands.
    ///
    /// # Panics
    ///
    /// As [`block`](Self::block), and if another event comes first.
    pub async fn opening(&mut self) -> String {
        let first = self.next().await;
        assert_eq!(first.name, "tavern-cursor", "{first:?}");
        first.id.expect("a cursor has an id")
    }

    /// Reads to the end; how long it last said to wait before coming back.
    ///
    /// # Panics
    ///
    /// As [`item`](Self::item).
    pub async fn end(&mut self) -> Option<Duration> {
        within("the stream ends", async {
            let mut retry = None;
            while let Some(item) = self.item().await {
                if let Item::Retry(after) = item {
                    retry = Some(after);
                }
            }
            retry
        })
        .await
    }
}
