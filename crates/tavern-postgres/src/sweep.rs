//! Removes what is too old. One node of the namespace does it at a time, each on a connection of its own:
//! what takes long is in nobody's way, and what never ends costs no more than that connection.

use std::sync::Arc;

use tavern_backend::Tasks;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::SimpleQueryMessage;
use tokio_util::sync::CancellationToken;

use crate::connect::{Ending, Making, Wires};
use crate::dsn::Dsn;
use crate::failure::Failure;
use crate::line::{Line, patience};
use crate::log::View;
use crate::number::millis;
use crate::pattern::WIDTH;
use crate::shared::{Session, Shared};

/// Rows of one call.
const BUDGET: i32 = 5000;
/// Lanes that are forgotten in one call, while nobody appends.
const LANES: i32 = 500;
/// What is younger stays, in milliseconds: a node that is a moment behind reads it from the log.
const GRACE: i64 = 10_000;
/// By so many milliseconds the log may be ahead of the server's clock, and nobody is warned.
const AHEAD: i64 = 60_000;

#[derive(Debug)]
pub(crate) struct Sweeper {
    shared: Arc<Shared>,
    dsn: Dsn,
    /// Of the connection.
    tasks: Tasks,
    own: Option<Own>,
    /// What is wrong is said once.
    trouble: Option<String>,
    is_ahead: bool,
}

/// A connection beside a link's.
#[derive(Debug)]
struct Own {
    line: Line,
    ending: Arc<Ending>,
    beside: Arc<Session>,
    _wires: Wires,
}

impl Sweeper {
    pub(crate) fn new(shared: Arc<Shared>, dsn: Dsn) -> Self {
        Self { shared, dsn, tasks: Tasks::new(), own: None, trouble: None, is_ahead: false }
    }

    /// Runs until the backend closes.
    pub(crate) async fn run(mut self, token: CancellationToken) {
        let mut tick = tokio::time::interval(self.shared.config.sweep_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = token.cancelled() => break,
            }
            let Ok(session) = self.shared.session() else {
                self.own = None;
                continue;
            };
            let swept = tokio::select! {
                swept = self.sweep(&session) => swept,
                () = token.cancelled() => break,
            };
            let trouble = swept.err().map(|failure| {
                if failure.link || failure.unknown {
                    self.own = None;
                }
                failure.reason
            });
            if let Some(reason) = &trouble
                && self.trouble.as_ref() != Some(reason)
            {
                tracing::warn!(reason, "what is too old cannot be removed now");
            }
            self.trouble = trouble;
        }
        self.own = None;
        self.tasks.close().await;
    }

    async fn sweep(&mut self, session: &Arc<Session>) -> Result<(), Failure> {
        let state = self.shared.look(session).await?;
        let is_ahead = state.ahead > AHEAD;
        if is_ahead && !self.is_ahead {
            tracing::warn!(
                seconds = state.ahead / 1000,
                "the log is ahead of the database's clock: that was put back, or was wrong"
            );
        }
        self.is_ahead = is_ahead;
        let beside = |own: &Own| Arc::ptr_eq(&own.beside, session) && !own.ending.is_over();
        let own = match self.own.take().filter(beside) {
            Some(own) => own,
            None => self.connect(session).await?,
        };
        let own = self.own.insert(own);
        own.sweep(&self.shared, &state.view).await
    }

    async fn connect(&self, session: &Arc<Session>) -> Result<Own, Failure> {
        let limit = self.shared.config.timeout;
        let wires = Wires { token: CancellationToken::new() };
        let ending = Arc::<Ending>::default();
        let name = format!("{}-{}", self.shared.config.application_name, self.shared.node);
        let making = Making {
            dsn: &self.dsn,
            name: &name,
            timeout: limit,
            tasks: &self.tasks,
            wires: &wires,
            ending: &ending,
        };
        let line = making.client(None).await?;
        let ask = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN tavern.server() END";
        let said = line.ask(limit, line.query_typed_one(ask, &[])).await?;
        if said.get::<_, Option<&str>>(0) != Some(&session.server) {
            return Err(Failure::new("the address leads now to one server, now to another"));
        }
        Ok(Own { line, ending, beside: Arc::clone(session), _wires: wires })
    }
}

impl Own {
    async fn sweep(&self, shared: &Shared, view: &View) -> Result<(), Failure> {
        let (id, log, version) = (view.id, literal(&view.log), view.version);
        let patterns = view.rules.patterns.iter().map(|pattern| literal(pattern));
        let patterns = patterns.collect::<Vec<_>>().join(",");
        let sweep = format!(
            "tavern.sweep({id}, {log}, {version}, ARRAY[{patterns}]::text[], {WIDTH},
                ARRAY{:?}::int4[], ARRAY{:?}::int8[], {GRACE}, {}, {BUDGET})",
            view.rules.keeps,
            view.rules.ages,
            millis(shared.config.dedup_window),
        );
        // What stays, however much it is, is looked at for a tenth of the time.
        let (begun, looking) = (Instant::now(), shared.config.sweep_interval / 10);
        loop {
            match self.ask(shared, &sweep).await?.as_str() {
                "1" => {}
                "2" if begun.elapsed() < looking => {}
                _ => break,
            }
        }
        let memory = millis(shared.config.lane_memory);
        let forget = format!("tavern.forget({id}, {log}, {memory}, {LANES})");
        while self.ask(shared, &forget).await? == "t" {}
        Ok(())
    }

    async fn ask(&self, shared: &Shared, function: &str) -> Result<String, Failure> {
        // All are one transaction, as they come in one message. Whatever the database's default is: a
        // snapshot from before the function's locks would not see what was appended meanwhile.
        let limit = shared.config.timeout;
        let call = format!(
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {};
            SELECT {function}",
            patience(limit),
        );
        let said = self.line.ask(limit, self.line.simple_query(&call)).await?;
        let answer = said.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(answer.unwrap_or_default().to_owned())
    }
}

/// A text as a statement has it, whatever the settings are.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
