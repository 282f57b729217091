//! Removes what is too old. One node of the namespace does it at a time.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;
use tokio_postgres::SimpleQueryMessage;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::line::patience;
use crate::number::millis;
use crate::shared::{Session, Shared};

/// Rows of one call.
const BUDGET: i32 = 5000;
/// What is younger stays, in milliseconds: a node that is a moment behind reads it from the log.
const GRACE: i64 = 10_000;

/// Runs until the backend closes.
pub(crate) async fn run(shared: Arc<Shared>, token: CancellationToken) {
    let mut tick = tokio::time::interval(shared.config.sweep_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = token.cancelled() => return,
        }
        let Ok(session) = shared.session() else { continue };
        tokio::select! {
            swept = sweep(&shared, &session) => {
                if let Err(failure) = swept {
                    session.notice(&failure);
                    tracing::debug!(reason = %failure.reason, "what is too old cannot be removed now");
                }
            }
            () = token.cancelled() => return,
        }
    }
}

async fn sweep(shared: &Shared, session: &Session) -> Result<(), Failure> {
    let view = shared.look(session).await?.view;
    let reader = &session.reader;
    let patterns = view.rules.patterns.iter().map(|pattern| literal(pattern));
    // Both are one transaction, as they come in one message. Whatever the database's default is: a
    // snapshot from before the function's locks would not see what was appended meanwhile.
    let call = format!(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {};
        SELECT tavern.sweep({}, ARRAY[{}]::text[], ARRAY{:?}::int4[], ARRAY{:?}::int8[], {GRACE}, {}, {}, {BUDGET})",
        patience(shared.config.timeout),
        view.id,
        patterns.collect::<Vec<_>>().join(","),
        view.rules.keeps,
        view.rules.ages,
        millis(shared.config.dedup_window),
        millis(shared.config.lane_memory),
    );
    loop {
        let said = reader.ask(shared.config.timeout, reader.simple_query(&call)).await?;
        let more = said.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
            _ => false,
        });
        if !more {
            return Ok(());
        }
    }
}

/// A text as a statement has it.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
