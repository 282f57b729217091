//! What hubs say of themselves: ready or not and why, alive, and the notices on their streams.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::recorder::SseRecorder;

/// Time between two questions.
const LOOK: Duration = Duration::from_millis(25);

/// One hub, seen from outside.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) url: String,
    /// How often it was killed: streams end by it.
    pub(super) deaths: AtomicU64,
    /// Whether it is killed or stopped now, and answers nothing.
    pub(super) away: AtomicBool,
    /// Whether it says that it delivers.
    pub(super) ready: AtomicBool,
    /// How often it was asked whether it lives, and did not say so although it did.
    pub(super) flaps: AtomicU64,
    /// Guards what was seen, in order.
    seen: Mutex<Vec<Seen>>,
}

/// Something that a hub said.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Ready,
    /// With the reason.
    Unready(String),
    Degraded,
    Recovered,
}

impl Watched {
    pub(super) fn new(url: String) -> Arc<Self> {
        Arc::new(Self { url, ..Self::default() })
    }

    pub(super) fn seen_since(&self, from: Instant) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|seen| seen.at >= from).cloned().collect()
    }

    fn see(&self, what: What) {
        let seen = Seen { at: Instant::now(), what };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    }

    /// Asks it all the time whether it is ready.
    pub(super) async fn ask(self: Arc<Self>) {
        let client = reqwest::Client::new();
        let url = format!("{}/readyz", self.url);
        let mut was = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let Ok(answer) = client.get(&url).timeout(Duration::from_secs(5)).send().await else {
                self.ready.store(false, Relaxed);
                continue;
            };
            let ready = answer.status().is_success();
            self.ready.store(ready, Relaxed);
            if was == Some(ready) {
                continue;
            }
            was = Some(ready);
            let problem = answer.json::<serde_json::Value>().await.unwrap_or_default();
            let why = problem["detail"].as_str().unwrap_or_default().to_owned();
            self.see(if ready { What::Ready } else { What::Unready(why) });
        }
    }

    /// Asks it now and then whether it lives.
    pub(super) async fn feel(self: Arc<Self>) {
        let client = reqwest::Client::new();
        let url = format!("{}/healthz", self.url);
        loop {
            tokio::time::sleep(10 * LOOK).await;
            let deaths = self.deaths.load(Relaxed);
            let away = self.away.load(Relaxed);
            let answer = client.get(&url).timeout(Duration::from_secs(5)).send().await;
            let fine = answer.is_ok_and(|answer| answer.status().is_success());
            let excused = away || self.away.load(Relaxed) || self.deaths.load(Relaxed) != deaths;
            if !fine && !excused {
                self.flaps.fetch_add(1, Relaxed);
            }
        }
    }

    /// Listens to the notices on a stream.
    pub(super) async fn listen(self: Arc<Self>) {
        let mut recorder = SseRecorder::new(&["chaos/watch".to_owned()]);
        loop {
            if recorder.connect(&self.url).await.is_err() {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            while let Some(events) = recorder.next().await {
                for event in events {
                    match event.name.as_str() {
                        "tavern-degraded" => self.see(What::Degraded),
                        "tavern-recovered" => self.see(What::Recovered),
                        _ => {}
                    }
                }
            }
        }
    }
}
