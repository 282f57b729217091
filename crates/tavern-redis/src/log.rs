//! The log's own word on where it stands, and its beginning where there is none.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use tavern_backend::{Epoch, Head, Lineage, LogTime, Position, Retention, wire};

use crate::failure::Failure;
use crate::names::Keys;
use crate::reply::{self, Reply};
use crate::script::{self, Call};
use crate::shared::{Session, Shared};

type Result<T> = std::result::Result<T, Failure>;

/// The layout of the keys that this release reads and writes.
pub(crate) const SCHEMA: &str = "1";

/// What changes rarely: which log it is, and its rules.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) log: String,
    pub(crate) keys: Keys,
    /// The rules' version, as the scripts compare it.
    pub(crate) rules: String,
    pub(crate) retention: Arc<Retention>,
}

/// The log at one moment.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) view: Arc<View>,
    pub(crate) head: Head,
}

impl Shared {
    /// Asks the log where it stands; creates it if there is none.
    pub(crate) async fn look(&self, session: &Session) -> Result<State> {
        let mut conn = session.reader.clone();
        self.look_on(&mut conn, session).await.inspect_err(|failure| {
            session.notice(failure);
            if failure.lasting {
                // Nothing works on such a log: the node is not ready, and says why, until it changes.
                session.end(&failure.reason);
            }
        })
    }

    /// The same on a connection of the caller's choice: what is pushed on it later lies above.
    pub(crate) async fn look_on(
        &self,
        conn: &mut MultiplexedConnection,
        session: &Session,
    ) -> Result<State> {
        for _ in 0..3 {
            let mut call = Call::new(&script::HEAD);
            call.key(self.names.meta());
            let mut reply = Reply::new(call.run(conn).await?)?;
            match reply.text()?.as_str() {
                "ok" => return self.state(reply),
                "absent" => self.open(session, "").await?,
                "damaged" => self.open(session, &reply.text()?).await?,
                _ => return Err(reply::strange()),
            }
        }
        Err(Failure::new("the log of the namespace comes and goes"))
    }

    /// Creates the log, if nobody else has; or a new one in the place of one that is damaged.
    pub(crate) async fn open(&self, session: &Session, damaged: &str) -> Result<()> {
        let epoch = Epoch::random().map_err(|error| Failure::new(error.to_string()))?;
        let retention = self.config.retention.clone().unwrap_or_default();
        let rules = serde_json::to_string(&retention).map_err(|error| {
            Failure::lasting(format!("the retention rules are refused: {error}"))
        })?;
        let mut call = Call::new(&script::OPEN);
        call.key(self.names.meta())
            .arg(SCHEMA)
            .arg(epoch.to_string())
            .arg(epoch.to_string())
            .arg(rules)
            .number(retention.version)
            .number(u64::from(wire::WRITES))
            .arg(damaged);
        let created = call.run(&mut session.writer.clone()).await?;
        if created == redis::Value::Int(1) && !damaged.is_empty() {
            tracing::error!(
                namespace = %self.config.namespace,
                "keys of the log are gone (evicted or deleted): a new log begins, and every client is told"
            );
        }
        Ok(())
    }

    fn state(&self, mut reply: Reply) -> Result<State> {
        let schema = reply.text()?;
        if schema != SCHEMA {
            return Err(Failure::lasting(format!(
                "the namespace was written in schema version {schema}, this release knows version \
                 {SCHEMA}; update this node, or give it another namespace"
            )));
        }
        let log = reply.text()?;
        let (epoch, seq, now) = (reply.epoch()?, reply.number()?, reply.number()?);
        let (horizon, forks) = (reply.number()?, reply.text()?);
        let (rules, retention, format) = (reply.text()?, reply.text()?, reply.number()?);
        let view = match self.view() {
            Some(view) if view.log == log && view.rules == rules => view,
            _ => {
                let retention: Retention = serde_json::from_str(&retention).map_err(|error| {
                    Failure::lasting(format!("the log's retention rules cannot be read ({error})"))
                })?;
                let keys = self.names.keys(&log);
                let view = Arc::new(View { log, keys, rules, retention: Arc::new(retention) });
                self.set_view(Arc::clone(&view));
                view
            }
        };
        let head = Head {
            position: Position::new(epoch, seq),
            lineage: Arc::new(Lineage { epoch, forks: reply::forks(&forks)? }),
            now: LogTime::from_millis(i64::try_from(now).unwrap_or(i64::MAX)),
            horizon,
            retention: Arc::clone(&view.retention),
            format: u8::try_from(format).map_err(|_| reply::strange())?,
        };
        Ok(State { view, head })
    }

    /// What is known of the log; asked if nothing is.
    pub(crate) async fn known(&self, session: &Session) -> Result<Arc<View>> {
        match self.view() {
            Some(view) => Ok(view),
            None => Ok(self.look(session).await?.view),
        }
    }

    /// Writes this node's rules into a log that has others, if it is to. Returns the log's rules if
    /// they differ in the end.
    pub(crate) async fn settle_rules(&self, session: &Session) -> Result<Option<Retention>> {
        for _ in 0..8 {
            let view = self.look(session).await?.view;
            let Some(wanted) = &self.config.retention else { return Ok(None) };
            if wanted.same_rules(&view.retention) {
                return Ok(None);
            }
            if !self.config.apply_retention {
                tracing::warn!("{}", wanted.explain_mismatch(&view.retention));
                return Ok(Some((*view.retention).clone()));
            }
            let mut next = wanted.clone();
            next.version = view.retention.version.max(wanted.version) + 1;
            let text = serde_json::to_string(&next).map_err(|error| {
                Failure::lasting(format!("the retention rules are refused: {error}"))
            })?;
            let mut call = Call::new(&script::RULES);
            call.key(self.names.meta())
                .arg(view.log.as_str())
                .arg(view.rules.as_str())
                .arg(text)
                .number(next.version);
            tracing::info!(
                "the log kept {}; from now on it keeps {next}, for all nodes",
                view.retention
            );
            call.run(&mut session.writer.clone()).await?;
        }
        Err(Failure::new("the retention rules of the log change all the time"))
    }
}
