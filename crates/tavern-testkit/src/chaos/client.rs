//! A client: it follows, drops, resumes on any hub, and writes down what it is told.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tavern_backend::TopicFilter;
use tokio::sync::watch;
use tokio::time::Instant;

use super::topics::Wish;
use super::watch::Watched;
use crate::oracle::Record;
use crate::recorder::SseRecorder;

/// What became of a client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) record: Record,
    /// Times it opened a stream.
    pub(super) streams: u64,
    /// Streams that ended although neither the client nor the death of a hub ended them.
    pub(super) ended: u64,
    /// What was wrong where it came.
    pub(super) wrong: Option<String>,
}

/// What all clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Going,
    /// Each topic's last publication is there, or comes: who has them all is done.
    Ending,
    /// The time is up.
    Over,
}

impl Client {
    pub(super) async fn run(
        wish: Wish,
        hubs: Vec<Arc<Watched>>,
        mut rng: fastrand::Rng,
        opened: watch::Sender<usize>,
        mut stage: watch::Receiver<Stage>,
    ) -> Self {
        let filters = wish.filters.iter().filter_map(|f| TopicFilter::new(f).ok()).collect();
        let record = Record::new(filters, wish.scope.clone());
        let mut recorder = SseRecorder::new(&wish.filters);
        if let Some(scope) = &wish.scope {
            recorder = recorder.with_scope(scope);
        }
        let mut client = Self { record, streams: 0, ended: 0, wrong: None };
        while client.wrong.is_none() && client.record.ends() < wish.topics {
            if *stage.borrow() == Stage::Over {
                let (ends, all) = (client.record.ends(), wish.topics);
                client.wrong = Some(format!("it waited in vain for {} topics", all - ends));
                break;
            }
            let hub = &hubs[rng.usize(0..hubs.len())];
            let deaths = hub.deaths.load(Relaxed);
            let connected =
                tokio::time::timeout(Duration::from_secs(2), recorder.connect(&hub.url));
            if !matches!(connected.await, Ok(Ok(()))) {
                // It is being killed, or stands still; a browser would wait, too.
                tokio::time::sleep(Duration::from_millis(rng.u64(50..200))).await;
                continue;
            }
            client.streams += 1;
            let stays = match (*stage.borrow(), rng.u8(0..4)) {
                (Stage::Ending, _) => 5_000..10_000,
                (_, 0) => 20..1_000,
                _ => 1_000..20_000,
            };
            let until = tokio::time::sleep(Duration::from_millis(rng.u64(stays)));
            if client.read(&mut recorder, until, &opened, &mut stage, &wish).await {
                // The news of a death may be ahead of its note.
                tokio::time::sleep(Duration::from_millis(100)).await;
                if hub.deaths.load(Relaxed) == deaths {
                    client.ended += 1;
                }
            }
            recorder.disconnect();
            if *stage.borrow() == Stage::Going && client.record.is_open() {
                let away = if rng.u8(0..8) == 0 { 1_000..9_000 } else { 0..500 };
                tokio::time::sleep(Duration::from_millis(rng.u64(away))).await;
            }
        }
        client.wrong = client.wrong.map(|wrong| format!("{wish:?}: {wrong}"));
        client
    }

    /// Reads a stream until it ends, for which it returns true, or for long enough.
    async fn read(
        &mut self,
        recorder: &mut SseRecorder,
        until: impl Future<Output = ()>,
        opened: &watch::Sender<usize>,
        stage: &mut watch::Receiver<Stage>,
        wish: &Wish,
    ) -> bool {
        tokio::pin!(until);
        loop {
            let events = tokio::select! {
                events = recorder.next() => events,
                () = &mut until => return false,
                Ok(()) = stage.changed() => continue,
            };
            let Some(events) = events else { return true };
            let was_open = self.record.is_open();
            for event in events {
                if let Err(wrong) = self.record.take(&event, Instant::now()) {
                    self.wrong = Some(wrong);
                    return false;
                }
            }
            if !was_open && self.record.is_open() {
                opened.send_modify(|n| *n += 1);
            }
            if self.record.ends() == wish.topics || *stage.borrow() == Stage::Over {
                return false;
            }
        }
    }
}
