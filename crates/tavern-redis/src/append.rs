//! One call of the append script: many callers' batches, in order, and their answers.

use std::collections::HashMap;

use bytes::Bytes;
use tavern_backend::{
    Append, Epoch, Lane, NodeId, Origin, Position, Publication, Published, Rejection, wire,
};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::log::{SCHEMA, View};
use crate::names::lane_name;
use crate::number::{count, millis};
use crate::reply::{Reply, strange};
use crate::script::{self, Call};
use crate::shared::{Session, Shared};

/// Batches of the spine that are kept for reading: where it does not reach back, a reader looks at
/// lanes instead.
const SPINE: u64 = 65_536;

/// What the script says.
#[derive(Debug)]
pub(crate) enum Answer {
    /// For each message that was sent.
    Done(Vec<Published>),
    /// What this node knew of the log is not true any more.
    Stale,
    /// There is no log.
    Absent,
    /// Keys of the log are missing.
    Damaged,
}

/// What is to be appended in one call.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) known: Option<Position>,
    pub(crate) publications: Vec<Publication>,
}

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

    /// Makes the call.
    pub(crate) async fn send(
        &self,
        shared: &Shared,
        session: &Session,
        view: &View,
    ) -> Result<Answer, Failure> {
        let mut origins: Vec<Sender> = Vec::new();
        let mut lanes: HashMap<Lane, usize> = HashMap::new();
        let mut order: Vec<Lane> = Vec::new();
        let mut runs: Vec<Run<'_>> = Vec::new();
        for new in &self.publications {
            let origin = Sender::note(&mut origins, new.key);
            let next = order.len() + 1;
            let lane = *lanes.entry(new.envelope.lane()).or_insert_with_key(|lane| {
                order.push(lane.clone());
                next
            });
            match runs.last_mut() {
                Some(run) if run.origin == origin && run.last + 1 == new.key.counter => {
                    run.last += 1;
                    run.messages.push((lane, new));
                }
                _ => runs.push(Run {
                    origin,
                    first: new.key.counter,
                    last: new.key.counter,
                    messages: vec![(lane, new)],
                }),
            }
        }

        let keys = &view.keys;
        let mut call = Call::new(&script::APPEND);
        call.key(shared.names.meta()).key(keys.lanes()).key(keys.names()).key(keys.silent());
        call.key(keys.spine()).key(keys.origins());
        let known = self.known.unwrap_or(Position::new(Epoch::from_u64(0), 0));
        let fresh = Epoch::random().map_err(|error| Failure::new(error.to_string()))?;
        call.arg(SCHEMA).arg(view.log.as_str());
        call.arg(fresh.to_string()).arg(view.rules.as_str());
        call.arg(self.known.map_or_else(String::new, |known| known.epoch.to_string()));
        call.number(known.seq).arg(session.publish_command()).arg(shared.names.spine());
        call.arg(shared.names.live());
        call.number(SPINE).number(millis(shared.config.dedup_window));
        call.arg(if shared.config.waits() { "1" } else { "" });
        call.number(count(origins.len()));
        for Sender { node, first, last, careful } in origins {
            call.key(keys.origin(node)).arg(node.to_string()).number(first).number(last);
            call.arg(if careful { "1" } else { "" });
        }
        call.number(count(order.len()));
        for lane in &order {
            let name = lane_name(&lane.topic, lane.scope.as_ref());
            let keep = view.retention.of(&lane.topic).entries;
            if keep > 0 {
                call.key(keys.stream(&name)).key(keys.ids(&name)).key(keys.order(&name));
            }
            call.arg(name).arg(shared.names.topic(lane.topic.as_str())).number(u64::from(keep));
        }
        call.number(count(runs.len()));
        for run in runs {
            call.number(count(run.origin)).number(run.first).number(run.last);
            for (lane, new) in run.messages {
                match &new.envelope.id {
                    Some(id) => {
                        let print = new.envelope.fingerprint();
                        call.arg(format!("-{lane}")).arg(id.as_str()).arg(print)
                    }
                    None => call.number(count(lane)),
                };
                call.bytes(body(new));
            }
        }
        let reply = Reply::new(call.run(&mut session.writer.clone()).await?)?;
        self.read(reply)
    }

    fn read(&self, mut reply: Reply) -> Result<Answer, Failure> {
        match reply.text()?.as_str() {
            "ok" => {}
            "stale" => return Ok(Answer::Stale),
            "absent" => return Ok(Answer::Absent),
            "damaged" => return Ok(Answer::Damaged),
            "schema" => {
                return Err(Failure::lasting(format!(
                    "the namespace was written in schema version {}, this release knows version \
                     {SCHEMA}; update this node",
                    reply.text()?
                )));
            }
            "partial" => {
                let reason = reply.text()?;
                tracing::error!(%reason, "the server carried out a part of an append");
                return Err(Failure::unknown(format!("the server refuses: {reason}")));
            }
            _ => return Err(strange()),
        }
        let (epoch, mut next) = (reply.epoch()?, reply.number()?);
        let (outcomes, mut others) = (reply.bytes()?, reply.list()?);
        if outcomes.len() != self.publications.len() {
            return Err(strange());
        }
        let published = self.publications.iter().zip(outcomes).map(|(new, outcome)| {
            Ok(match (outcome, &new.envelope.id) {
                (b's', _) => {
                    next += 1;
                    Published::Stored(Position::new(epoch, next - 1))
                }
                (b'l', _) => Published::Live,
                (b'd', _) => Published::Duplicate(Position::new(epoch, others.number()?)),
                (b'c', Some(id)) => {
                    let position = Position::new(epoch, others.number()?);
                    Published::Rejected(Rejection::IdConflict { id: id.clone(), position })
                }
                _ => return Err(strange()),
            })
        });
        Ok(Answer::Done(published.collect::<Result<_, Failure>>()?))
    }
}

/// A node whose publications are in a call.
struct Sender {
    node: NodeId,
    first: u64,
    last: u64,
    /// A key may be in the call twice: who gave up waiting sends again what still waits here.
    careful: bool,
}

impl Sender {
    /// Notes a key. Returns the number of its node, from 1.
    fn note(senders: &mut Vec<Self>, Origin { node, counter }: Origin) -> usize {
        let Some(at) = senders.iter().position(|sender| sender.node == node) else {
            senders.push(Self { node, first: counter, last: counter, careful: false });
            return senders.len();
        };
        let sender = &mut senders[at];
        sender.careful |= counter <= sender.last;
        sender.first = sender.first.min(counter);
        sender.last = sender.last.max(counter);
        at + 1
    }
}

/// Messages with consecutive counters of one node, each with the number of its lane, from 1.
struct Run<'a> {
    origin: usize,
    first: u64,
    last: u64,
    messages: Vec<(usize, &'a Publication)>,
}

fn body(new: &Publication) -> Bytes {
    wire::encode(&new.clone().into_record(Instant::now()))
}
