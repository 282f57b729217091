//! One call of the append function: many callers' batches, in order, and their answers.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use tavern_backend::{Append, Epoch, Lane, Position, Publication, Published, Rejection, wire};
use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};

use crate::connect::timed;
use crate::failure::Failure;
use crate::line::patience;
use crate::log::{View, parse_epoch, strange};
use crate::number::{bits, millis, signed, unsigned};
use crate::pattern::entries;
use crate::shared::{Session, Shared};

/// What the function says.
#[derive(Debug)]
pub(crate) enum Answer {
    /// For each message that was sent; `None` for one that another node has taken from the outbox.
    Done(Vec<Option<Published>>),
    /// What this node knew of the log is not true any more.
    Stale,
}

/// A message of a batch.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) publication: Publication,
    /// Its number in the outbox, if it comes from there: then it is no publication of this node's
    /// caller, and its key is not noted.
    pub(crate) outbox: Option<i64>,
}

/// What is to be appended in one call.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) known: Option<Position>,
    pub(crate) messages: Vec<Message>,
}

const APPEND: &str = "SELECT word, epoch, first, outcomes, others FROM tavern.append(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)";

impl Batch {
    /// Whether what a caller knows can be told in the same call.
    pub(crate) fn goes_with(&self, append: &Append) -> bool {
        match (self.known, append.known) {
            (Some(ours), Some(theirs)) => ours.epoch == theirs.epoch,
            _ => true,
        }
    }

    /// Adds what a caller knows: of one epoch, the highest seq says it all.
    pub(crate) fn learn(&mut self, known: Option<Position>) {
        if let Some(known) = known
            && self.known.is_none_or(|ours| ours.seq < known.seq)
        {
            self.known = Some(known);
        }
    }

    /// Makes the call, in a transaction of its own: that of the one statement, unless such a
    /// transaction would be of another isolation level.
    pub(crate) async fn send(
        &self,
        shared: &Shared,
        session: &Session,
        view: &View,
    ) -> Result<Answer, Failure> {
        let mut lanes: HashMap<Lane, i32> = HashMap::new();
        let (mut topics, mut scopes, mut keeps) = (Vec::new(), Vec::new(), Vec::new());
        let mut columns = Columns::default();
        let mut last = HashMap::new();
        let mut careful = false;
        let now = Instant::now();
        for Message { publication, outbox } in &self.messages {
            let envelope = &publication.envelope;
            let next = i32::try_from(topics.len() + 1).unwrap_or(i32::MAX);
            let lane = *lanes.entry(envelope.lane()).or_insert_with_key(|lane| {
                topics.push(lane.topic.as_str().to_owned());
                scopes.push(lane.scope.as_ref().map_or("", |s| s.as_str()).to_owned());
                keeps.push(entries(&view.retention.of(&lane.topic)));
                next
            });
            let key = publication.key;
            columns.lane.push(lane);
            columns.node.push(outbox.is_none().then_some(bits(key.node.to_u64())));
            columns.counter.push(outbox.is_none().then_some(signed(key.counter)));
            if outbox.is_none() {
                // A key may be in the call twice: who gave up waiting sends again what still waits.
                let highest = last.entry(key.node).or_insert(0);
                careful |= key.counter <= *highest;
                *highest = key.counter.max(*highest);
            }
            let id = envelope.id.as_ref();
            columns.id.push(id.map(|id| id.as_str().to_owned()));
            columns.print.push(id.map(|_| envelope.fingerprint()));
            let record = publication.clone().into_record(now);
            columns.record.push(wire::encode(&record).to_vec());
            columns.outbox.push(*outbox);
        }
        let fresh = Epoch::random().map_err(|error| Failure::new(error.to_string()))?.to_string();
        let known_epoch = self.known.map(|known| known.epoch.to_string());
        let known_seq = self.known.map(|known| signed(known.seq));
        let patience = i32::try_from(patience(shared.config.timeout)).unwrap_or(i32::MAX);
        let values: [(&(dyn ToSql + Sync), Type); 19] = [
            (&view.id, Type::INT4),
            (&view.log, Type::TEXT),
            (&view.version, Type::INT8),
            (&fresh, Type::TEXT),
            (&known_epoch, Type::TEXT),
            (&known_seq, Type::INT8),
            (&millis(shared.config.dedup_window), Type::INT8),
            (&topics, Type::TEXT_ARRAY),
            (&scopes, Type::TEXT_ARRAY),
            (&keeps, Type::INT4_ARRAY),
            (&columns.lane, Type::INT4_ARRAY),
            (&columns.node, Type::INT8_ARRAY),
            (&columns.counter, Type::INT8_ARRAY),
            (&columns.id, Type::TEXT_ARRAY),
            (&columns.print, Type::TEXT_ARRAY),
            (&columns.record, Type::BYTEA_ARRAY),
            (&columns.outbox, Type::INT8_ARRAY),
            (&careful, Type::BOOL),
            (&patience, Type::INT4),
        ];
        let writer = &session.writer;
        let calls = async {
            if !session.explicit.load(Ordering::Relaxed) {
                let row = writer.query_typed_one(APPEND, &values).await?;
                if row.get::<_, &str>(0) != "isolation" {
                    return Ok(row);
                }
                session.explicit.store(true, Ordering::Relaxed);
            }
            // The three go out together.
            let (begun, called, done) = futures_util::future::join3(
                writer.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
                writer.query_typed_one(APPEND, &values),
                writer.batch_execute("COMMIT"),
            )
            .await;
            begun?;
            let row = called?;
            done?;
            Ok(row)
        };
        let row = timed(shared.config.timeout, calls).await.inspect_err(|f| session.notice(f))?;
        self.read(&row)
    }

    fn read(&self, row: &tokio_postgres::Row) -> Result<Answer, Failure> {
        match row.get::<_, &str>(0) {
            "ok" => {}
            "stale" | "absent" => return Ok(Answer::Stale),
            _ => return Err(strange().in_doubt()),
        }
        let epoch = parse_epoch(row.get(1))?;
        let mut next = unsigned(row.get(2));
        let outcomes: &str = row.get(3);
        let mut others = row.get::<_, Vec<i64>>(4).into_iter();
        if outcomes.len() != self.messages.len() {
            return Err(strange().in_doubt());
        }
        let published = self.messages.iter().zip(outcomes.bytes()).map(|(message, outcome)| {
            let mut other = || {
                let seq = others.next().ok_or_else(|| strange().in_doubt())?;
                Ok::<_, Failure>(Position::new(epoch, unsigned(seq)))
            };
            Ok(match (outcome, &message.publication.envelope.id) {
                (b's', _) => {
                    next += 1;
                    Some(Published::Stored(Position::new(epoch, next - 1)))
                }
                (b'l', _) => Some(Published::Live),
                (b'd', _) => Some(Published::Duplicate(other()?)),
                (b'c', Some(id)) => Some(Published::Rejected(Rejection::IdConflict {
                    id: id.clone(),
                    position: other()?,
                })),
                (b'g', _) => None,
                _ => return Err(strange().in_doubt()),
            })
        });
        Ok(Answer::Done(published.collect::<Result<_, Failure>>()?))
    }
}

/// The messages, column by column.
#[derive(Debug, Default)]
struct Columns {
    lane: Vec<i32>,
    node: Vec<Option<i64>>,
    counter: Vec<Option<i64>>,
    id: Vec<Option<String>>,
    print: Vec<Option<String>>,
    record: Vec<Vec<u8>>,
    outbox: Vec<Option<i64>>,
}
