//! A publisher: it publishes to any hub, some of it until it is stored, some of it once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::client::Stage;
use super::topics::{Lane, lanes};
use super::watch::Watched;
use crate::oracle::{Answer, Ledger, seq_of};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_secs(2);
/// Bytes of a larger message.
const LARGE: usize = 2_000;

/// What publishers were answered, all attempts counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answers {
    /// `stored`.
    pub stored: u64,
    /// `duplicate`.
    pub duplicate: u64,
    /// `spooled`.
    pub spooled: u64,
    /// `rejected`, or a problem for all.
    pub rejected: u64,
    /// No answer.
    pub lost: u64,
}

/// One message on its way.
#[derive(Debug)]
struct Message {
    number: u64,
    body: String,
}

/// A publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) hubs: Vec<Arc<Watched>>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) rng: fastrand::Rng,
    /// Messages in a second.
    pub(super) rate: f64,
    pub(super) http: reqwest::Client,
    pub(super) answers: Answers,
    pub(super) wrong: Vec<String>,
}

impl Publisher {
    /// Publishes until the end begins; what is on its way then is brought to its end.
    pub(super) async fn run(mut self, stage: watch::Receiver<Stage>) -> Self {
        let lanes = lanes();
        while *stage.borrow() == Stage::Going {
            let count = self.rng.usize(1..9);
            let insists = self.rng.u8(0..10) < 7;
            let batch = (0..count).map(|_| self.message(&lanes, insists)).collect::<Vec<_>>();
            let begun = Instant::now();
            let pace = f64::from(u32::try_from(count).unwrap_or(1)) / self.rate;
            let pace = Duration::from_secs_f64(pace).mul_f64(self.rng.f64() * 2.0);
            self.publish(batch, insists, &stage).await;
            tokio::time::sleep_until(begun + pace).await;
        }
        self
    }

    /// Publishes the last message of each lane, until it is stored.
    pub(super) async fn finish(&mut self, stage: &watch::Receiver<Stage>) {
        let messages = lanes().into_iter().map(|lane| {
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            let number = ledger.publish_last(&lane.topic, lane.scope);
            Message { number, body: body(&lane, number, &ledger.data(number), None, true) }
        });
        let messages = messages.collect();
        self.publish(messages, true, stage).await;
    }

    fn message(&mut self, lanes: &[Lane], insists: bool) -> Message {
        let lane = &lanes[self.rng.usize(0..lanes.len())];
        let ttl = (self.rng.u8(0..20) == 0).then_some(TTL);
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let number = ledger.publish(&lane.topic, lane.scope, ttl);
        let mut data = ledger.data(number);
        if self.rng.u8(0..10) == 0 {
            data.push(' ');
            data.extend(std::iter::repeat_n('x', LARGE));
        }
        Message { number, body: body(lane, number, &data, ttl, insists) }
    }

    /// Sends them, and what was not surely stored again if this publisher insists.
    async fn publish(
        &mut self,
        mut messages: Vec<Message>,
        insists: bool,
        stage: &watch::Receiver<Stage>,
    ) {
        while !messages.is_empty() && *stage.borrow() != Stage::Over {
            let hub = self.hubs[self.rng.usize(0..self.hubs.len())].url.clone();
            let answers = self.send(&hub, &messages).await;
            self.note(&messages, &answers);
            let mut answers = answers.into_iter();
            messages.retain(|_| answers.next() == Some(Answer::Perhaps));
            if !insists {
                return;
            }
            if !messages.is_empty() {
                tokio::time::sleep(Duration::from_millis(self.rng.u64(100..400))).await;
            }
        }
    }

    fn note(&self, messages: &[Message], answers: &[Answer]) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for (message, answer) in messages.iter().zip(answers) {
            ledger.answered(message.number, *answer, now);
        }
    }

    async fn send(&mut self, hub: &str, messages: &[Message]) -> Vec<Answer> {
        let lines = messages.iter().map(|m| m.body.as_str()).collect::<String>();
        let request = self.http.post(format!("{hub}/publish")).timeout(PATIENCE);
        let request = request.header("content-type", "application/x-ndjson").body(lines);
        let bytes = match request.send().await {
            Ok(answer) => answer.bytes().await.unwrap_or_default(),
            Err(_) => Default::default(),
        };
        let outcomes = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        let outcomes = outcomes.map_while(Result::ok).collect::<Vec<_>>();
        messages.iter().enumerate().map(|(n, _)| self.read(outcomes.get(n))).collect()
    }

    fn read(&mut self, outcome: Option<&Value>) -> Answer {
        let Some(outcome) = outcome else {
            self.answers.lost += 1;
            return Answer::Perhaps;
        };
        let seq = || outcome["id"].as_str().and_then(seq_of);
        let count = match outcome["status"].as_str() {
            Some("stored") => &mut self.answers.stored,
            Some("duplicate") => &mut self.answers.duplicate,
            Some("spooled") => &mut self.answers.spooled,
            _ => &mut self.answers.rejected,
        };
        *count += 1;
        match (outcome["status"].as_str(), seq()) {
            (Some("stored" | "duplicate"), Some(seq)) => Answer::Stored(seq),
            (Some("rejected"), _) if outcome["retryable"] != true => {
                self.wrong.push(format!("a message that is fine was refused: {outcome}"));
                Answer::Refused
            }
            // A problem for all of them, or a lost answer behind the hub: it may be there.
            _ => Answer::Perhaps,
        }
    }
}

/// One line of what is sent.
fn body(lane: &Lane, number: u64, data: &str, ttl: Option<Duration>, insists: bool) -> String {
    let mut envelope = serde_json::json!({ "topic": lane.topic.to_string(), "data": data });
    if let Some(scope) = lane.scope {
        envelope["scope"] = scope.into();
    }
    if let Some(ttl) = ttl.and_then(|ttl| u64::try_from(ttl.as_millis()).ok()) {
        envelope["ttl"] = ttl.into();
    }
    if insists {
        // With an id, so that it is stored once however often it is sent.
        envelope["id"] = format!("c-{number}").into();
    }
    envelope.to_string() + "\n"
}
