//! What one transaction of the writer does: everything between BEGIN and COMMIT.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use tavern_backend::{
    Append, Epoch, Fork, Keep, Lane, LogTime, MessageEnvelope, NodeId, Position, Publication,
    Published, Rejection, Retention, wire,
};
use tokio::time::Instant;

use crate::failure::{Failure, Outcome};
use crate::fence::Fence;
use crate::incarnation::Incarnation;
use crate::keys::{Keys, Seen};
use crate::lanes::LaneRow;
use crate::number::{count, fnv, signed, unsigned};
use crate::state::{self, State};

/// What a transaction needs to know and does not change.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) retention: &'a Retention,
    pub(crate) incarnation: &'a Incarnation,
    pub(crate) fence: Option<Fence>,
    pub(crate) node: NodeId,
    pub(crate) max_payload: usize,
    pub(crate) dedup_window: Duration,
}

/// One transaction, under way.
#[derive(Debug)]
pub(crate) struct Appender<'a> {
    context: Context<'a>,
    state: State,
    loaded: State,
    now: LogTime,
    keys: Keys,
    lanes: HashMap<Lane, Touched>,
    /// Whether the epoch was found to be the one to append to, or was opened.
    fenced: bool,
    /// Bytes of bodies written.
    bytes: u64,
}

#[derive(Debug)]
struct Touched {
    row: LaneRow,
    keep: Keep,
}

impl<'a> Appender<'a> {
    pub(crate) fn new(context: Context<'a>, state: State) -> Self {
        let now = state.now();
        let loaded = state.clone();
        Self {
            context,
            state,
            loaded,
            now,
            keys: Keys::default(),
            lanes: HashMap::new(),
            fenced: false,
            bytes: 0,
        }
    }

    /// The log's clock in this transaction.
    pub(crate) fn now(&self) -> LogTime {
        self.now
    }

    /// Bytes of bodies written.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a batch in order.
    pub(crate) fn append(&mut self, append: &Append) -> Outcome<Vec<Published>> {
        let known = append.known;
        let published = append
            .publications
            .iter()
            .map(|publication| self.publish(publication, known))
            .collect::<Outcome<_>>()?;
        if let Some(known) = known {
            state::raise_lost(self.context.conn, known)?;
        }
        Ok(published)
    }

    fn publish(&mut self, new: &Publication, known: Option<Position>) -> Outcome<Published> {
        let (size, max) = (new.envelope.data.len(), self.context.max_payload);
        if size > max {
            return Ok(Published::Rejected(Rejection::TooLarge { size, max }));
        }
        match self.keys.find(self.context.conn, new.key)? {
            Some(Seen::At(seq)) => return Ok(Published::Duplicate(self.at(seq))),
            Some(Seen::Live) => return Ok(Published::Live),
            None => {}
        }
        if self.context.retention.of(&new.envelope.topic).is_live() {
            return self.push(new);
        }
        if let Some(answer) = self.known_id(new)? {
            return Ok(answer);
        }
        self.fence(known)?;
        self.insert(new)
    }

    /// Opens a new epoch if the log is not the one that the last append left behind.
    fn fence(&mut self, known: Option<Position>) -> Outcome<()> {
        if !self.fenced {
            self.fenced = true;
            let (moved, lost) = self.examine(self.context.fence.map(|fence| fence.position))?;
            let same = self.context.incarnation.is(&self.state.incarnation);
            if self.context.incarnation.may_have_lost(&self.state.incarnation) {
                // The fence went down with what it tells of.
                self.open_epoch(lost.max(self.state.seq + 1))?;
            } else if moved || !same {
                self.open_epoch(lost)?;
            } else {
                self.context.incarnation.complete(&mut self.state.incarnation);
            }
        }
        // A position of this epoch above its head: entries are gone that no fence tells of.
        if let Some(known) = known.filter(|k| k.epoch == self.state.epoch && k.seq > self.state.seq)
        {
            self.open_epoch(known.seq)?;
        }
        Ok(())
    }

    /// Whether the fence proves that the log was cut or replaced, and through which seq entries
    /// are lost then.
    fn examine(&self, fence: Option<Position>) -> Outcome<(bool, u64)> {
        let head = self.state.position();
        let Some(fence) = fence else { return Ok((false, head.seq)) };
        if fence.epoch == head.epoch {
            return Ok((fence.seq > head.seq, fence.seq.max(head.seq)));
        }
        let lineage = state::lineage(self.context.conn, head.epoch)?;
        if lineage.forks.iter().any(|fork| fork.parent == fence.epoch) {
            return Ok((false, head.seq));
        }
        // The database is from before the fence's epoch: what was appended in it is gone.
        Ok((true, fence.seq.max(head.seq + 1)))
    }

    fn open_epoch(&mut self, lost_through: u64) -> Outcome<()> {
        let Position { epoch: parent, seq: at } = self.state.position();
        let lost_through = lost_through.max(at);
        state::fork(self.context.conn, Fork { parent, at, lost_through })?;
        self.state.epoch = Epoch::random().map_err(Failure::away)?;
        self.context.incarnation.as_str().clone_into(&mut self.state.incarnation);
        tracing::warn!(
            parent = %parent, at, lost_through, epoch = %self.state.epoch,
            "the log is another than at the last append (copied, restored, or the system was \
             started anew): a new epoch begins"
        );
        Ok(())
    }

    fn at(&self, seq: u64) -> Position {
        Position::new(self.state.epoch, seq)
    }

    /// What the log already says about a publication with an id; `None` if it has to be stored.
    fn known_id(&mut self, new: &Publication) -> Outcome<Option<Published>> {
        let Some(id) = &new.envelope.id else { return Ok(None) };
        let Some(row) = self.lane(&new.envelope)?.map(|touched| touched.row.clone()) else {
            return Ok(None);
        };
        let conn = self.context.conn;
        let mut select =
            conn.prepare_cached("SELECT seq, hash, at FROM ids WHERE lane = ?1 AND id = ?2")?;
        let found: Option<(i64, i64, i64)> = select
            .query_row((row.id, id.as_str()), |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .optional()?;
        let Some((seq, hash, at)) = found else { return Ok(None) };
        let seq = unsigned(seq);
        let forgotten = LogTime::from_millis(at) < self.now.before(self.context.dedup_window);
        if forgotten && seq <= row.floor {
            conn.prepare_cached("DELETE FROM ids WHERE seq = ?1")?.execute([signed(seq)])?;
            return Ok(None);
        }
        let position = self.at(seq);
        if hash != fingerprint(&new.envelope) {
            let id = id.clone();
            return Ok(Some(Published::Rejected(Rejection::IdConflict { id, position })));
        }
        self.keys.add(conn, new.key, Seen::At(seq))?;
        Ok(Some(Published::Duplicate(position)))
    }

    /// The lane's row, if the log has one.
    fn lane(&mut self, envelope: &MessageEnvelope) -> Outcome<Option<&mut Touched>> {
        let lane = envelope.lane();
        if !self.lanes.contains_key(&lane) {
            let Some(row) = LaneRow::find(self.context.conn, &lane)? else { return Ok(None) };
            let keep = self.context.retention.of(&lane.topic);
            self.lanes.insert(lane.clone(), Touched { row, keep });
        }
        Ok(self.lanes.get_mut(&lane))
    }

    fn insert(&mut self, new: &Publication) -> Outcome<Published> {
        let conn = self.context.conn;
        if self.lane(&new.envelope)?.is_none() {
            let lane = new.envelope.lane();
            self.state.lanes += 1;
            let row = LaneRow::insert(conn, self.state.lanes, &lane)?;
            let keep = self.context.retention.of(&lane.topic);
            self.lanes.insert(lane, Touched { row, keep });
        }
        self.state.seq += 1;
        self.state.appended = self.now;
        let (seq, now) = (self.state.seq, self.now);
        let Some(Touched { row, keep }) = self.lane(&new.envelope)? else {
            return Err(Failure::unusable("the lane of an entry is gone"));
        };
        row.append(seq, now, *keep);
        let lane = row.id;
        let body = body(new);
        self.bytes += count(body.len());
        conn.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4)")?.execute((
            signed(seq),
            lane,
            now.as_millis(),
            &body[..],
        ))?;
        if let Some(id) = &new.envelope.id {
            // An id of before the log was cut may still hold this seq: its entry is gone.
            conn.prepare_cached("INSERT OR REPLACE INTO ids VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute((
                    signed(seq),
                    lane,
                    id.as_str(),
                    fingerprint(&new.envelope),
                    now.as_millis(),
                ))?;
        }
        self.keys.add(conn, new.key, Seen::At(seq))?;
        Ok(Published::Stored(self.at(seq)))
    }

    /// Sends a live message: a row that the other nodes read in passing.
    fn push(&mut self, new: &Publication) -> Outcome<Published> {
        let conn = self.context.conn;
        self.state.live += 1;
        let body = body(new);
        self.bytes += count(body.len());
        conn.prepare_cached("INSERT INTO live VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
            signed(self.state.live),
            self.now.as_millis(),
            self.context.node.to_u64().cast_signed(),
            new.envelope.topic.as_str(),
            &body[..],
        ))?;
        self.keys.add(conn, new.key, Seen::Live)?;
        Ok(Published::Live)
    }

    /// Writes what was gathered. Returns the state to be committed.
    pub(crate) fn finish(mut self) -> Outcome<State> {
        let conn = self.context.conn;
        for touched in self.lanes.values_mut() {
            touched.row.trim(conn, touched.keep, self.now)?;
            touched.row.save(conn)?;
        }
        self.keys.save(conn, self.now)?;
        if self.state != self.loaded {
            self.state.save(conn)?;
        }
        Ok(self.state)
    }
}

fn body(new: &Publication) -> bytes::Bytes {
    wire::encode(&new.clone().into_record(Instant::now()))
}

/// What makes two messages with the same id the same message.
fn fingerprint(envelope: &MessageEnvelope) -> i64 {
    let event = envelope.event.as_ref().map_or("", |event| event.as_str());
    fnv(&[envelope.data.as_bytes(), event.as_bytes()]).cast_signed()
}
