//! The other side: tokio's channel, used as well as it can be.

use std::hint::black_box;
use std::sync::Arc;

use tavern_backend::Tasks;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::time::Instant;

use super::PAYLOAD;
use super::crowd::{Count, Crowd};
use crate::figure::number;
use crate::run::Result;

/// Bytes that the id and the field names of a frame add to its payload.
const FRAME: usize = PAYLOAD + 34;

type Shared = Arc<[u8]>;

#[derive(Debug)]
pub(super) struct Broadcast {
    sender: Sender<Shared>,
    crowd: Arc<Crowd>,
    tasks: Tasks,
    subscribers: usize,
    batch: usize,
}

impl Broadcast {
    pub(super) fn open(subscribers: usize, batch: usize) -> Self {
        // Whatever is in flight has room: nobody lags.
        let (sender, _) = broadcast::channel(batch.max(16));
        let crowd = Arc::new(Crowd::new(subscribers));
        let tasks = Tasks::new();
        for _ in 0..subscribers {
            tasks.spawn(receive(sender.subscribe(), batch, Arc::clone(&crowd)));
        }
        Self { sender, crowd, tasks, subscribers, batch }
    }

    /// Deliveries a second.
    pub(super) async fn run(&self, rounds: usize) -> Result<f64> {
        let batches: Vec<Vec<Shared>> = (0..rounds)
            .map(|_| (0..self.batch).map(|_| Shared::from([b'x'; FRAME])).collect())
            .collect();
        let start = Instant::now();
        for batch in batches {
            for frame in batch {
                self.sender.send(frame).map_err(|_| "no receiver is left")?;
            }
            self.crowd.all().await;
        }
        let took = start.elapsed();
        Ok(number(rounds * self.batch * self.subscribers) / took.as_secs_f64())
    }

    pub(super) async fn close(self: Arc<Self>) {
        let tasks = self.tasks.clone();
        // The sender goes with the last handle, and the receivers end.
        drop(self);
        tasks.close().await;
    }
}

async fn receive(mut receiver: Receiver<Shared>, batch: usize, crowd: Arc<Crowd>) {
    let mut count = Count::of(batch);
    loop {
        match receiver.recv().await {
            Ok(frame) => {
                black_box(frame.len());
                let mut frames = 1;
                while let Ok(frame) = receiver.try_recv() {
                    black_box(frame.len());
                    frames += 1;
                }
                count.add(frames, &crowd);
            }
            // What was skipped is missing from the count, and the round never ends.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
