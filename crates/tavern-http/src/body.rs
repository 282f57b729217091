//! The body of an event stream: shared frames, polled by the connection itself.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use tavern_backend::Cursor;
use tavern_broker::{Deliveries, Delivery, Subscription};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::SseConfig;
use crate::metrics::Traffic;
use crate::response::spread_retry;

/// The most deliveries taken from the ring at once.
const MAX_BATCH: usize = 256;
/// A heartbeat more often than this would be a mistake in the configuration.
const MIN_HEARTBEAT: Duration = Duration::from_millis(1);
/// As good as none at all, and no clock ends before it is due.
const MAX_HEARTBEAT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The body of an event stream.
///
/// `retry:` leaves with the headers. Then it takes what the subscription has, as much as is
/// queued, and writes it at once; a single frame goes out as the bytes that all subscribers share.
/// In silence it sends heartbeats. It ends with the subscription.
///
/// There is no task behind it: it is driven by the connection that polls it, and dropping it ends
/// the subscription.
pub struct SseBody {
    /// `None` once the stream has ended.
    subscription: Option<Subscription>,
    /// What leaves with the headers.
    opening: Option<Bytes>,
    /// What was taken from the subscription; what lies before `next` has been written.
    batch: Deliveries,
    next: usize,
    /// Bytes taken and written at once, unless a single frame is larger.
    coalesce: usize,
    pulse: Pulse,
    traffic: Option<Arc<Traffic>>,
    /// One of the streams the hub may have; given back when the body is dropped.
    _permit: Option<OwnedSemaphorePermit>,
}

/// When something last left, and what the client knows.
struct Pulse {
    interval: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    wrote_at: Instant,
    cursor_at: Instant,
    cursor: Option<Cursor>,
}

impl fmt::Debug for SseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseBody")
            .field("open", &self.subscription.is_some())
            .field("cursor", &self.pulse.cursor)
            .finish_non_exhaustive()
    }
}

impl SseBody {
    /// A body that writes what `subscription` yields.
    #[must_use]
    pub fn new(subscription: Subscription, config: &SseConfig) -> Self {
        let now = Instant::now();
        Self {
            subscription: Some(subscription),
            opening: Some(spread_retry(config)),
            batch: Deliveries::default(),
            next: 0,
            coalesce: config.coalesce.max(1),
            pulse: Pulse {
                interval: config.heartbeat.clamp(MIN_HEARTBEAT, MAX_HEARTBEAT),
                timer: None,
                wrote_at: now,
                cursor_at: now,
                cursor: None,
            },
            traffic: None,
            _permit: None,
        }
    }

    /// The same, counted and holding one of the hub's permits.
    pub(crate) fn counted(
        mut self,
        traffic: Arc<Traffic>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        self.traffic = Some(traffic);
        self._permit = permit;
        self
    }

    /// The next write out of the batch, which is not used up.
    fn write(&mut self) -> Bytes {
        let from = self.next;
        let mut size = 0;
        for delivery in &self.batch[from..] {
            let len = len(delivery);
            if self.next > from && size + len > self.coalesce {
                break;
            }
            size += len;
            self.next += 1;
        }
        let written = &self.batch[from..self.next];
        let bytes = match written {
            [delivery] => delivery.encode(),
            several => {
                let mut bytes = BytesMut::with_capacity(size);
                for delivery in several {
                    match delivery {
                        Delivery::Message(message) => bytes.extend_from_slice(message.encoded()),
                        control => bytes.extend_from_slice(&control.encode()),
                    }
                }
                bytes.freeze()
            }
        };
        let now = Instant::now();
        self.pulse.wrote_at = now;
        if let Some(cursor) = written.iter().rev().find_map(Delivery::cursor) {
            self.pulse.cursor = Some(cursor);
            self.pulse.cursor_at = now;
        }
        let frames = written.len();
        if matches!(written.last(), Some(Delivery::Closing(_))) {
            self.subscription = None;
        }
        if self.next == self.batch.len() {
            // Frames are shared: held longer than they are needed, they would outlive the ring's
            // budget.
            self.batch = Deliveries::default();
            self.next = 0;
        }
        if let Some(traffic) = &self.traffic {
            traffic.wrote(frames, bytes.len());
        }
        bytes
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(opening) = self.opening.take() {
            return Poll::Ready(Some(opening));
        }
        if self.batch.is_empty() {
            let Some(subscription) = &mut self.subscription else { return Poll::Ready(None) };
            match subscription.poll_shared_within(cx, MAX_BATCH, self.coalesce) {
                Poll::Ready(batch) if batch.is_empty() => {
                    self.subscription = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(batch) => self.batch = batch,
                Poll::Pending => {
                    let current = subscription.cursor();
                    return self.pulse.poll(cx, current).map(Some);
                }
            }
        }
        Poll::Ready(Some(self.write()))
    }
}

impl Pulse {
    /// The next heartbeat, when it is due; `current` is where the subscription stands.
    fn poll(&mut self, cx: &mut Context<'_>, current: Option<Cursor>) -> Poll<Bytes> {
        let timer =
            self.timer.get_or_insert_with(|| Box::pin(sleep_until(self.wrote_at + self.interval)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            // A stream that is busy with live messages, which carry no id, still moves its cursor.
            let moved = current.filter(|cursor| {
                Some(*cursor) != self.cursor && now >= self.cursor_at + self.interval
            });
            let silent = now >= self.wrote_at + self.interval;
            if moved.is_some() || silent {
                self.wrote_at = now;
            }
            timer.as_mut().reset(self.wrote_at + self.interval);
            if let Some(cursor) = moved {
                self.cursor = Some(cursor);
                self.cursor_at = now;
                return Poll::Ready(Delivery::Cursor(cursor).encode());
            }
            if silent {
                return Poll::Ready(tavern_sse::comment(""));
            }
        }
    }
}

impl Body for SseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll_write(cx).map(|write| write.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// About how many bytes a delivery takes; exact for messages.
fn len(delivery: &Delivery) -> usize {
    match delivery {
        Delivery::Message(message) => message.encoded().len(),
        _ => 256,
    }
}
