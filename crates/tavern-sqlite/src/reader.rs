//! The threads that answer questions: pages, ids, the head.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rusqlite::Connection;
use tavern_backend::{Head, Lane, MessageId, Page, ReadQuery, Result, Retention};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::failure::Outcome;
use crate::lanes::LaneNames;
use crate::page;
use crate::schema;
use crate::shared::{Session, Shared};
use crate::state::{self, State};

/// A question, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) ask: Ask,
    /// A place in the queue.
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(crate) enum Ask {
    Page(ReadQuery, oneshot::Sender<Result<Page>>),
    Find(Lane, MessageId, oneshot::Sender<Result<Option<u64>>>),
    Head(oneshot::Sender<Result<Head>>),
    /// The node ends.
    Stop,
}

#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    inbox: Receiver<Question>,
    session: Option<Session>,
    names: LaneNames,
    /// The epoch that `names` are of.
    epoch: Option<tavern_backend::Epoch>,
    retention: Option<Arc<Retention>>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, inbox: Receiver<Question>) -> Self {
        Self {
            shared,
            inbox,
            session: None,
            names: LaneNames::default(),
            epoch: None,
            retention: None,
        }
    }

    pub(crate) fn run(mut self) {
        while let Ok(question) = self.inbox.recv() {
            if self.shared.stop.is_told() {
                break;
            }
            self.answer(question.ask);
        }
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            // Who is gone has no use for the answer.
            Ask::Page(_, reply) if reply.is_closed() => {}
            Ask::Find(_, _, reply) if reply.is_closed() => {}
            Ask::Head(reply) if reply.is_closed() => {}
            Ask::Stop => {}
            Ask::Page(query, reply) => {
                let _ = reply.send(self.with(|conn, names, state, retention| {
                    page::read(conn, names, state, retention, &query)
                }));
            }
            Ask::Find(lane, id, reply) => {
                let _ = reply.send(self.with(|conn, _, _, _| page::find(conn, &lane, id.as_str())));
            }
            Ask::Head(reply) => {
                let _ =
                    reply.send(self.with(|conn, _, state, retention| head(conn, state, retention)));
            }
        }
    }

    /// Does `work` in one snapshot of the file that lies at the path now.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&Connection, &mut LaneNames, &State, &Arc<Retention>) -> Outcome<T>,
    ) -> Result<T> {
        let session = match self.session.take().filter(|s| s.check(&self.shared).is_ok()) {
            Some(session) => session,
            None => {
                self.names.clear();
                self.retention = None;
                self.shared.reader()?
            }
        };
        // A session that failed is not kept: the next question opens the file anew.
        let answer = self.ask(&session.conn, work)?;
        self.session = Some(session);
        Ok(answer)
    }

    fn ask<T>(
        &mut self,
        conn: &Connection,
        work: impl FnOnce(&Connection, &mut LaneNames, &State, &Arc<Retention>) -> Outcome<T>,
    ) -> Outcome<T> {
        let snapshot = conn.unchecked_transaction()?;
        let state = State::load(&snapshot)?;
        if self.epoch != Some(state.epoch) {
            self.names.clear();
            self.retention = None;
            self.epoch = Some(state.epoch);
        }
        let retention = match self.retention.take().filter(|r| r.version == state.retention) {
            Some(retention) => retention,
            None => Arc::new(schema::read_retention(&snapshot)?),
        };
        let answer = work(&snapshot, &mut self.names, &state, &retention);
        self.retention = Some(retention);
        answer
    }
}

fn head(conn: &Connection, state: &State, retention: &Arc<Retention>) -> Outcome<Head> {
    Ok(Head {
        position: state.position(),
        lineage: Arc::new(state::lineage(conn, state.epoch)?),
        now: state.now(),
        horizon: state.horizon,
        retention: Arc::clone(retention),
        format: state.format,
    })
}
