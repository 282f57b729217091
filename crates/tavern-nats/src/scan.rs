//! Goes through the stored messages of a stream, with a consumer that lives as long.

use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::json;
use tavern_backend::LogTime;
use tokio::time::Instant;

use crate::api::{Api, Which};
use crate::failure::Failure;

type Result<T> = std::result::Result<T, Failure>;

/// Messages asked for at once.
const BATCH: usize = 1000;
/// Seqs that are asked for one by one.
const SHORT: u64 = 256;
/// The same where no consumer can be made.
const LONG: u64 = 4096;
/// Requests on their way at once.
const AT_ONCE: usize = 32;
/// The wait for a server that has not got as far as the leader says it is.
const BEHIND: Duration = Duration::from_millis(5);
/// A consumer that nobody serves for so long is gone, with the server that had it. One that was just
/// made is not known to every server of a cluster at once.
const GONE: Duration = Duration::from_secs(1);

/// What to go through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range<'a> {
    pub(crate) stream: &'a str,
    pub(crate) from: u64,
    /// The last one. It was given out: who reads does not wait for what is still to come.
    pub(crate) to: u64,
    /// Of this subject only.
    pub(crate) subject: Option<&'a str>,
    pub(crate) headers_only: bool,
}

/// A message on the way.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) seq: u64,
    /// The consumer's own count.
    delivered: u64,
    pub(crate) subject: String,
    /// The server's stamp.
    pub(crate) time: LogTime,
    /// Its `Nats-Msg-Id`.
    pub(crate) id: Option<String>,
    pub(crate) payload: Bytes,
}

impl Range<'_> {
    /// Hands over what is stored of it, by seq, until `each` has enough. What was not handed over
    /// then is not stored, on the word of the stream's leader.
    pub(crate) async fn scan(
        self,
        api: &Api,
        mut each: impl FnMut(Found) -> ControlFlow<()>,
    ) -> Result<()> {
        if self.from > self.to {
            return Ok(());
        }
        let span = self.to - self.from;
        if self.subject.is_none() && span < SHORT {
            return self.one_by_one(api, each).await;
        }
        // A consumer may live on another server than this link leads to: its silence is not the
        // link's end, which pings find out.
        let made = api.create_consumer(self.stream, self.from, self.subject, self.headers_only);
        let name = match made.await.map_err(Failure::of_this_call) {
            Ok((name, _)) => name,
            Err(failure) if self.subject.is_none() && span < LONG && !failure.lasting => {
                tracing::debug!(reason = %failure.reason, "no consumer can be made: it goes without");
                return self.one_by_one(api, each).await;
            }
            Err(failure) => return Err(failure),
        };
        let scanned = self.with_consumer(api, &name, &mut each).await;
        // One that could not be deleted ends by itself.
        if let Err(failure) = api.delete_consumer(self.stream, &name).await {
            tracing::debug!(reason = %failure.reason, "a consumer is left to end by itself");
        }
        scanned
    }

    /// Asks the stream's leader for each message: it needs nobody who makes consumers, which in a
    /// cluster is another leader, and may be missing for seconds while this one serves.
    async fn one_by_one(
        self,
        api: &Api,
        mut each: impl FnMut(Found) -> ControlFlow<()>,
    ) -> Result<()> {
        let gets = (self.from..=self.to).map(|seq| api.get(self.stream, Which::Seq(seq)));
        let mut got = futures_util::stream::iter(gets).buffered(AT_ONCE);
        while let Some(stored) = got.next().await {
            let Some(stored) = stored? else { continue };
            let found = Found {
                seq: stored.seq,
                delivered: 0,
                subject: stored.subject,
                time: LogTime::from_millis(stored.time),
                id: None,
                payload: stored.payload,
            };
            if each(found).is_break() {
                break;
            }
        }
        Ok(())
    }

    async fn with_consumer(
        self,
        api: &Api,
        name: &str,
        each: &mut impl FnMut(Found) -> ControlFlow<()>,
    ) -> Result<()> {
        let inbox = api.client.new_inbox();
        let mut answers = api.client.subscribe(inbox.clone()).await?;
        let mut progress = Progress { next: self.from, delivered: 0 };
        let mut served = Instant::now();
        loop {
            let next = progress.next;
            let want = usize::try_from(self.to - next + 1).unwrap_or(BATCH).min(BATCH);
            let body = json!({ "batch": want, "no_wait": true }).to_string();
            let subject = api.next_of(self.stream, name);
            api.client.publish_with_reply(subject, inbox.clone(), body.into()).await?;
            match self.batch(api, &mut answers, want, &mut progress, each).await {
                Ok(Batch::Enough) => return Ok(()),
                _ if progress.next > self.to => return Ok(()),
                Ok(Batch::Full) => {
                    served = Instant::now();
                    continue;
                }
                Ok(Batch::Dry) if progress.next > next => served = Instant::now(),
                Ok(Batch::Dry) => {}
                Err(failure) if failure.absent && served.elapsed() < GONE => {}
                Err(failure) => return Err(failure),
            }
            // There is no more where this consumer is: the leader knows whether that is all.
            let next = progress.next;
            let which = self.subject.map_or(Which::From(next), |of| Which::FromOf(next, of));
            match api.get(self.stream, which).await? {
                Some(more) if more.seq <= self.to => {}
                _ => return Ok(()),
            }
            if served.elapsed() > api.timeout * 4 {
                return Err(Failure::new("a replica of the stream stays behind its leader"));
            }
            tokio::time::sleep(BEHIND).await;
        }
    }

    /// Takes the answers to one request.
    async fn batch(
        self,
        api: &Api,
        answers: &mut Subscriber,
        want: usize,
        progress: &mut Progress,
        each: &mut impl FnMut(Found) -> ControlFlow<()>,
    ) -> Result<Batch> {
        for _ in 0..want {
            let answer = tokio::time::timeout(api.timeout, answers.next()).await;
            let message = match answer {
                Err(_) => return Err(Failure::new("a read of the stream gets no answer in time")),
                Ok(None) => return Err(Failure::of_link(crate::connect::LOST)),
                Ok(Some(message)) => message,
            };
            if let Some(status) = message.status {
                return match status.as_u16() {
                    // There are no more messages now.
                    404 | 408 => Ok(Batch::Dry),
                    503 => Err(Failure::nobody()),
                    code => Err(Failure::new(format!(
                        "the server ends a read: {} ({code})",
                        message.description.as_deref().unwrap_or("no reason is given")
                    ))),
                };
            }
            let Some(found) = Found::new(message) else {
                return Err(Failure::strange("CONSUMER.MSG.NEXT"));
            };
            // Between servers of a cluster a delivery may get lost: counting finds that, too.
            if found.delivered != progress.delivered + 1 {
                return Err(Failure::new("a part of a read was lost between the servers"));
            }
            progress.delivered = found.delivered;
            let seq = found.seq;
            if seq > self.to {
                return Ok(Batch::Enough);
            }
            progress.next = seq + 1;
            if each(found).is_break() || seq == self.to {
                return Ok(Batch::Enough);
            }
        }
        Ok(Batch::Full)
    }
}

/// How far a scan is.
#[derive(Debug)]
struct Progress {
    /// The seq it goes on from.
    next: u64,
    /// What the consumer has delivered, by its own count.
    delivered: u64,
}

/// How one request for messages ended.
#[derive(Debug)]
enum Batch {
    /// That is all that was wanted.
    Enough,
    /// As many came as were asked for.
    Full,
    /// No more are where the consumer is.
    Dry,
}

impl Found {
    /// Where a message comes from stands in the subject for its acknowledgement, from the end:
    /// pending, time, consumer's seq, stream's seq.
    fn new(message: Message) -> Option<Self> {
        let reply = message.reply?;
        // `$JS.ACK.stream.consumer.delivered.seq.count.time.pending`, or with a domain and an
        // account's hash before the stream, and a token at the end.
        let tokens = reply.split('.').collect::<Vec<_>>();
        let at = if tokens.len() == 9 { 5 } else { 7 };
        let seq = tokens.get(at)?.parse().ok()?;
        let delivered = tokens.get(at + 1)?.parse().ok()?;
        let nanos = tokens.get(at + 2)?.parse::<i64>().ok()?;
        let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
        Some(Self {
            seq,
            delivered,
            subject: message.subject.to_string(),
            time: LogTime::from_millis(nanos / 1_000_000),
            id: id.map(|id| id.as_str().to_owned()),
            payload: message.payload,
        })
    }
}
