//! Moves what SQL has published into the log.
//!
//! Any number of nodes do: the append takes a message out of the outbox in the transaction that puts
//! it into the log, and what another node has taken before does not count.

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::{
    EventName, Invalid, MessageEnvelope, MessageId, NodeId, Origin, Publication, Published, Scope,
    Topic,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

use crate::append::Message;
use crate::appender::Job;
use crate::failure::Failure;
use crate::log::strange;
use crate::number::unsigned;
use crate::shared::{Session, Shared};

/// Messages moved at once.
const AT_ONCE: i64 = 500;
/// Bytes of them, from which on no further one is taken.
const BYTES: i64 = 4 << 20;

const OUTBOX: &str = "SELECT number, topic, data, event, id, scope, ttl, waited, size
    FROM tavern.waiting($1, $2, $3, $4, $5, $6)";

/// What looking takes is waited so many times before the next look.
const REST: u32 = 2;
/// A look at all of it that takes longer is slow.
const SLOW: Duration = Duration::from_millis(5);
/// Then all of it is looked at so often, and else what came behind what was moved last.
const SELDOM: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Mover {
    shared: Arc<Shared>,
    jobs: mpsc::WeakSender<Job>,
    /// Who publishes for SQL: this node, but not its callers.
    node: NodeId,
    counter: u64,
    /// What the last look took.
    looked: Duration,
    /// The last look at all of it.
    whole: Option<Whole>,
    /// Why nothing could be moved the last time: that is said once.
    trouble: Option<String>,
}

/// A look at all of it.
#[derive(Debug)]
struct Whole {
    at: Instant,
    /// Long, where a transaction that stays open keeps rows from being vacuumed which were moved long
    /// ago.
    took: Duration,
    /// The highest number that was seen.
    newest: i64,
    /// What was under way, as the database has it.
    moment: String,
}

impl Mover {
    pub(crate) fn new(shared: Arc<Shared>, jobs: mpsc::WeakSender<Job>, node: NodeId) -> Self {
        Self { shared, jobs, node, counter: 0, looked: Duration::ZERO, whole: None, trouble: None }
    }

    /// Runs until the backend closes.
    pub(crate) async fn run(mut self, token: CancellationToken) {
        let mut tick = tokio::time::interval(self.shared.config.outbox_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = token.cancelled() => return,
            }
            let Ok(session) = self.shared.session() else { continue };
            tokio::select! {
                () = self.move_all(&session) => {}
                () = token.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(self.looked * REST) => {}
                () = token.cancelled() => return,
            }
        }
    }

    async fn move_all(&mut self, session: &Session) {
        loop {
            match self.move_some(session).await {
                Ok(true) => self.trouble = None,
                Ok(false) => {
                    self.trouble = None;
                    return;
                }
                Err(failure) => {
                    // What was seen is still there.
                    self.whole = None;
                    session.notice(&failure);
                    if self.trouble.as_ref() != Some(&failure.reason) {
                        tracing::warn!(reason = %failure.reason, "the outbox cannot be moved now");
                        self.trouble = Some(failure.reason);
                    }
                    return;
                }
            }
        }
    }

    /// Moves the oldest. Returns whether there may be more.
    async fn move_some(&mut self, session: &Session) -> Result<bool, Failure> {
        let limit = self.shared.config.timeout;
        let max = i32::try_from(self.shared.config.max_payload).unwrap_or(i32::MAX);
        let begun = Instant::now();
        let slow = |whole: &&Whole| whole.took > SLOW && whole.at.elapsed() < SELDOM;
        let since = self.whole.as_ref().filter(slow);
        let values: [(&(dyn ToSql + Sync), Type); 6] = [
            (&self.shared.config.namespace, Type::TEXT),
            (&since.map_or(0, |whole| whole.newest), Type::INT8),
            (&since.map(|whole| whole.moment.as_str()), Type::TEXT),
            (&AT_ONCE, Type::INT8),
            (&BYTES, Type::INT8),
            (&max, Type::INT4),
        ];
        let rows = session.reader.ask(limit, session.reader.query_typed(OUTBOX, &values)).await?;
        self.looked = begun.elapsed();
        let (moment, rows) = rows.split_first().ok_or_else(strange)?;
        if moment.get::<_, Option<&str>>(3).is_some() {
            // The rest of what was too much for one look is behind it.
            let newest = rows.last().map_or(0, |row| row.get(0));
            let before = self.whole.as_ref().map_or(0, |whole| whole.newest);
            self.whole = Some(Whole {
                at: Instant::now(),
                took: self.looked,
                newest: if rows.is_empty() { before } else { newest },
                moment: moment.get(1),
            });
        }
        if rows.is_empty() {
            return Ok(false);
        }
        let mut useless = Vec::new();
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            let number: i64 = row.get(0);
            match self.message(row) {
                Ok(publication) => {
                    messages.push(Message { publication, outbox: Some(number) });
                }
                Err(reason) => useless.push((number, reason)),
            }
        }
        self.discard(session, useless).await?;
        if messages.is_empty() {
            return Ok(true);
        }
        let numbers = messages.iter().map(|message| message.outbox).collect::<Vec<_>>();
        let Some(jobs) = self.jobs.upgrade() else { return Ok(false) };
        let (reply, answer) = oneshot::channel();
        if jobs.send(Job::Outbox(messages, reply)).await.is_err() {
            return Ok(false);
        }
        drop(jobs);
        let Ok(published) = answer.await else { return Ok(false) };
        for (outcome, number) in published?.into_iter().zip(numbers) {
            if let Some(Published::Rejected(rejection)) = outcome {
                tracing::warn!(number, %rejection, "a message that SQL has published is refused");
            }
        }
        Ok(true)
    }

    fn message(&mut self, row: &Row) -> Result<Publication, Invalid> {
        let Some(data) = row.get::<_, Option<String>>(2) else {
            let (size, max) = (row.get::<_, i32>(8), self.shared.config.max_payload);
            return Err(Invalid::new(
                "data",
                format!("it has {size} bytes, {max} at most are accepted"),
            ));
        };
        let mut envelope = MessageEnvelope::new(Topic::new(row.get::<_, &str>(1))?, data);
        let text = |at: usize| row.get::<_, Option<&str>>(at);
        envelope.event = text(3).map(EventName::new).transpose()?;
        envelope.id = text(4).map(MessageId::new).transpose()?;
        envelope.scope = text(5).map(Scope::new).transpose()?;
        let millis = row.get::<_, Option<i64>>(6).map(unsigned).filter(|ttl| *ttl > 0);
        envelope.ttl = millis.map(Duration::from_millis);
        self.counter += 1;
        let key = Origin { node: self.node, counter: self.counter };
        let waited = Duration::from_millis(unsigned(row.get(7)));
        let now = Instant::now();
        Ok(Publication { key, envelope, accepted: now.checked_sub(waited).unwrap_or(now) })
    }

    /// Takes out what nobody can deliver, and says so.
    async fn discard(
        &self,
        session: &Session,
        useless: Vec<(i64, Invalid)>,
    ) -> Result<(), Failure> {
        if useless.is_empty() {
            return Ok(());
        }
        let numbers = useless.iter().map(|(number, _)| number.to_string()).collect::<Vec<_>>();
        // It does not wait for another node that does the same: that may take long to end.
        let call = format!(
            "SET LOCAL lock_timeout = 100; DELETE FROM tavern.outbox
                WHERE namespace = (SELECT name FROM tavern.namespace WHERE id = {})
                AND number = ANY ('{{{}}}') RETURNING number",
            self.shared.known(session).await?.id,
            numbers.join(",")
        );
        let writer = &session.writer;
        let gone = writer.ask(self.shared.config.timeout, writer.simple_query(&call)).await?;
        for message in gone {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let of =
                |(number, _): &&(i64, Invalid)| row.get(0) == Some(number.to_string().as_str());
            let Some((number, reason)) = useless.iter().find(of) else { continue };
            tracing::error!(
                number,
                %reason,
                "a message in the outbox cannot be delivered, and is discarded"
            );
        }
        Ok(())
    }
}
