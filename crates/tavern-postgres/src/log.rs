//! The log's own word on where it stands, its beginning where there is none, and its rules.

use std::sync::Arc;

use tavern_backend::{Epoch, Fork, Head, Lineage, LogTime, Position, Retention, wire};
use tokio_postgres::types::{ToSql, Type};

use crate::failure::Failure;
use crate::line::{Line, patience};
use crate::number::unsigned;
use crate::pattern::Rules;
use crate::shared::{Session, Shared};

type Result<T> = std::result::Result<T, Failure>;

/// What changes rarely: which log it is, and its rules.
#[derive(Debug)]
pub(crate) struct View {
    /// The namespace's number in this database.
    pub(crate) id: i32,
    pub(crate) log: String,
    /// The rules' version.
    pub(crate) version: i64,
    pub(crate) retention: Arc<Retention>,
    pub(crate) rules: Rules,
}

/// The log at one moment.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) view: Arc<View>,
    pub(crate) head: Head,
    /// By how many milliseconds the newest entry is ahead of the server's clock.
    pub(crate) ahead: i64,
}

/// One statement, so of one moment.
const HEAD: &str = "
SELECT n.id, n.log, n.epoch, n.forks, n.retention, n.rules, n.format, n.horizon,
    coalesce(e.seq, 0), tavern.clock(e.appended), pg_is_in_recovery(),
    current_setting('transaction_read_only')::bool,
    coalesce(e.appended - tavern.now_ms(), 0)
FROM tavern.namespace n LEFT JOIN LATERAL (
    SELECT x.seq, x.appended FROM tavern.entry x WHERE x.namespace = n.id ORDER BY x.seq DESC LIMIT 1
) e ON true
WHERE n.name = $1";

/// Who waits for another's lock ends before it is given up; see `tavern.append()`.
const CREATE: &str = "
WITH patience AS MATERIALIZED (SELECT set_config('lock_timeout', $6::text, true))
INSERT INTO tavern.namespace (name, log, epoch, incarnation, retention, rules, format)
SELECT $1, $2, $2, tavern.incarnation(), $3, $4, $5 FROM patience ON CONFLICT DO NOTHING";

impl Shared {
    /// Asks the log where it stands; creates it if there is none.
    pub(crate) async fn look(&self, session: &Session) -> Result<State> {
        self.look_with(&session.reader).await.inspect_err(|failure| {
            session.notice(failure);
            if failure.lasting || failure.absent {
                // Nothing works on such a database: the link begins anew with the schema.
                session.ending.end(&failure.reason);
            }
        })
    }

    pub(crate) async fn look_with(&self, client: &Line) -> Result<State> {
        for _ in 0..3 {
            let name = &self.config.namespace;
            let rows = client
                .ask(self.config.timeout, client.query_typed(HEAD, &[(name, Type::TEXT)]))
                .await?;
            if let Some(row) = rows.first() {
                if row.get::<_, bool>(10) {
                    return Err(Failure::of_link("the database is a replica and does not write"));
                }
                if row.get::<_, bool>(11) {
                    return Err(Failure::of_link("the database is read-only"));
                }
                return self.state(row);
            }
            self.create(client).await?;
        }
        Err(Failure::new("the log of the namespace comes and goes"))
    }

    fn state(&self, row: &tokio_postgres::Row) -> Result<State> {
        let (log, epoch): (String, Epoch) = (row.get(1), parse_epoch(row.get(2))?);
        let version: i64 = row.get(5);
        let view = match self.view() {
            Some(view)
                if view.id == row.get::<_, i32>(0)
                    && view.log == log
                    && view.version == version =>
            {
                view
            }
            _ => {
                let retention: Retention = serde_json::from_str(row.get(4)).map_err(|error| {
                    Failure::lasting(format!("the log's retention rules cannot be read ({error})"))
                })?;
                let rules = Rules::new(&retention);
                let retention = Arc::new(retention);
                let view = Arc::new(View { id: row.get(0), log, version, retention, rules });
                self.set_view(Arc::clone(&view));
                view
            }
        };
        let head = Head {
            position: Position::new(epoch, unsigned(row.get(8))),
            lineage: Arc::new(Lineage { epoch, forks: parse_forks(row.get(3))? }),
            now: LogTime::from_millis(row.get(9)),
            horizon: unsigned(row.get(7)),
            retention: Arc::clone(&view.retention),
            format: u8::try_from(row.get::<_, i32>(6)).map_err(|_| strange())?,
        };
        Ok(State { view, head, ahead: row.get(12) })
    }

    /// Creates the log, if nobody else has.
    async fn create(&self, client: &Line) -> Result<()> {
        let epoch = Epoch::random().map_err(|error| Failure::new(error.to_string()))?.to_string();
        // A log that is lost leaves its rules behind in those who knew it.
        let retention = match self.view() {
            Some(view) => (*view.retention).clone(),
            None => self.config.retention.clone().unwrap_or_default(),
        };
        let rules = written(&retention)?;
        let version = i64::try_from(retention.version).unwrap_or(i64::MAX);
        let patience = patience(self.config.timeout).to_string();
        let values: [(&(dyn ToSql + Sync), Type); 6] = [
            (&self.config.namespace, Type::TEXT),
            (&epoch, Type::TEXT),
            (&rules, Type::TEXT),
            (&version, Type::INT8),
            (&i32::from(wire::WRITES), Type::INT4),
            (&patience, Type::TEXT),
        ];
        match client.ask(self.config.timeout, client.execute_typed(CREATE, &values)).await {
            // Another node was faster, where a statement is by default a serializable transaction.
            Err(failure) if failure.again => Ok(()),
            outcome => outcome.map(drop),
        }
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
            next.version = view.retention.version.max(wanted.version).saturating_add(1);
            let Ok(version) = i64::try_from(next.version) else {
                return Err(Failure::lasting(
                    "the retention rules have the highest version there is",
                ));
            };
            tracing::info!(
                "the log kept {}; from now on it keeps {next}, for all nodes",
                view.retention
            );
            let text = written(&next)?;
            // Everything is looked at anew.
            let change = "UPDATE tavern.namespace SET retention = $1, rules = $2, swept = 0
                WHERE id = $3 AND rules = $4";
            let values: [(&(dyn ToSql + Sync), Type); 4] = [
                (&text, Type::TEXT),
                (&version, Type::INT8),
                (&view.id, Type::INT4),
                (&view.version, Type::INT8),
            ];
            let reader = &session.reader;
            match reader.ask(self.config.timeout, reader.execute_typed(change, &values)).await {
                Err(failure) if !failure.again => return Err(failure),
                _ => {}
            }
        }
        Err(Failure::new("the retention rules of the log change all the time"))
    }
}

fn written(retention: &Retention) -> Result<String> {
    serde_json::to_string(retention)
        .map_err(|error| Failure::lasting(format!("the retention rules are refused: {error}")))
}

pub(crate) fn strange() -> Failure {
    Failure::new("the database's answer cannot be read")
}

pub(crate) fn parse_epoch(text: &str) -> Result<Epoch> {
    text.parse().map_err(|_| strange())
}

/// `parent:at:lost_through;` for each, newest first.
fn parse_forks(text: &str) -> Result<Vec<Fork>> {
    let forks = text.split_terminator(';').map(|fork| {
        let mut parts = fork.split(':');
        let parent = parse_epoch(parts.next().unwrap_or_default())?;
        let mut number = || parts.next().and_then(|n| n.parse().ok()).ok_or_else(strange);
        Ok(Fork { parent, at: number()?, lost_through: number()? })
    });
    forks.collect()
}
