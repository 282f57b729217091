//! `tavern subscribe`: follows topics across cuts, as an `EventSource` would.

use std::time::Duration;

use reqwest::{Response, StatusCode, Url};
use serde_json::{Map, Value, json};
use tavern_sse::{Block, Item, Parser};

use super::{Hub, explain, refusal};
use crate::cli::SubscribeArgs;
use crate::failure::Failure;
use crate::output;

/// Hubs send a sign of life each 15 s; after this long without one the connection is dead.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest pause between attempts to reach a hub that does not answer.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Why a stream is over, where it is worth coming back.
struct Cut {
    why: String,
    /// Whether anything came: then the pause is the hub's `retry:`, else it grows.
    opened: bool,
}

struct Follower {
    hub: Hub,
    url: Url,
    json: bool,
    parser: Parser,
    retry: Duration,
}

pub(crate) async fn run(args: SubscribeArgs) -> Result<(), Failure> {
    let hub = Hub::at(&args.hub.url)?;
    let mut url = hub.url("events");
    {
        let mut query = url.query_pairs_mut();
        for topic in &args.topics {
            query.append_pair("topic", topic);
        }
        if let Some(scope) = &args.scope {
            query.append_pair("scope", scope);
        }
    }
    let parser = Parser::new().with_last_event_id(args.last_event_id.as_deref().unwrap_or(""));
    let retry = Duration::from_secs(1);
    let mut follower = Follower { hub, url, json: args.json, parser, retry };
    let mut failures: u32 = 0;
    loop {
        let cut = follower.follow().await?;
        failures = if cut.opened { 0 } else { failures.saturating_add(1) };
        let pause = follower.pause(failures);
        output::error(format_args!("tavern: {}; coming back in {pause:.1?}", cut.why));
        tokio::time::sleep(pause).await;
    }
}

impl Follower {
    /// Opens the stream and prints what comes, until it is cut.
    async fn follow(&mut self) -> Result<Cut, Failure> {
        self.parser.restart();
        let mut response = match self.open().await? {
            Ok(response) => response,
            Err(why) => return Ok(Cut { why, opened: false }),
        };
        loop {
            let why = match tokio::time::timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    self.take(&chunk)?;
                    continue;
                }
                Ok(Ok(None)) => "the hub ended the stream".to_owned(),
                Ok(Err(error)) => format!("the stream broke off: {}", explain(error)),
                Err(_) => "the hub has gone silent".to_owned(),
            };
            return Ok(Cut { why, opened: true });
        }
    }

    /// `Ok(Err(why))` where it is worth trying again.
    async fn open(&self) -> Result<Result<Response, String>, Failure> {
        let mut request =
            self.hub.client().get(self.url.clone()).header("accept", "text/event-stream");
        if !self.parser.last_event_id().is_empty() {
            request = request.header("last-event-id", self.parser.last_event_id());
        }
        let response = match tokio::time::timeout(SILENCE, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_builder() => return Err(Failure::usage(explain(error))),
            Ok(Err(error)) => return Ok(Err(explain(error))),
            Err(_) => return Ok(Err("the hub does not answer".to_owned())),
        };
        match response.status() {
            StatusCode::OK => {}
            // What a proxy says while the hub behind it restarts.
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS => return Ok(Err(refusal(response).await)),
            _ => return Err(Failure::failed(refusal(response).await)),
        }
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            let kind = kind.unwrap_or("nothing that says what it is");
            return Err(Failure::failed(format_args!(
                "no event stream but {kind} was sent; is this a hub's address?"
            )));
        }
        Ok(Ok(response))
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        let Self { parser, retry, json, .. } = self;
        for item in parser.push(chunk) {
            match item.map_err(Failure::failed)? {
                Item::Block(block) => print(&block, *json)?,
                Item::Retry(pause) => *retry = pause,
                _ => {}
            }
        }
        Ok(())
    }

    /// How long to wait: what the hub asked for; doubled, and spread, for each attempt in vain.
    fn pause(&self, failures: u32) -> Duration {
        if failures == 0 {
            return self.retry.min(MAX_PAUSE);
        }
        let longest = self.retry.saturating_mul(1 << failures.min(10)).min(MAX_PAUSE);
        // Without randomness the pause is the longest, which harms nobody.
        let part = getrandom::u32().map_or(1.0, |n| f64::from(n) / f64::from(u32::MAX));
        longest.mul_f64(0.5 + part / 2.0)
    }
}

/// Messages to standard output, what the hub says of the stream to standard error.
fn print(block: &Block, as_json: bool) -> Result<(), Failure> {
    let Some(message) = block.message() else { return Ok(()) };
    if as_json {
        let mut object = Map::new();
        if let Some(id) = &block.id {
            object.insert("id".to_owned(), json!(**id));
        }
        object.insert("event".to_owned(), json!(message.event));
        object.insert("data".to_owned(), json!(message.data));
        return output::line(Value::Object(object));
    }
    match message.event {
        // A place in the log, of interest to nobody but the next connection.
        "tavern-cursor" => {}
        control if control.starts_with("tavern-") => {
            output::error(format_args!("{control} {}", message.data));
        }
        _ => output::line(message.data)?,
    }
    Ok(())
}
