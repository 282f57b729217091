//! Removes what is too old. One node of the namespace does it at a time.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;
use tokio_postgres::types::{ToSql, Type};
use tokio_util::sync::CancellationToken;

use crate::connect::timed;
use crate::failure::Failure;
use crate::number::millis;
use crate::shared::{Session, Shared};

/// Rows of one call.
const BUDGET: i32 = 5000;
/// What is younger stays, in milliseconds: a node that is a moment behind reads it from the log.
const GRACE: i64 = 10_000;

const SWEEP: &str = "SELECT tavern.sweep($1, $2, $3, $4, $5, $6, $7, $8)";

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
    let values: [(&(dyn ToSql + Sync), Type); 8] = [
        (&view.id, Type::INT4),
        (&view.rules.patterns, Type::TEXT_ARRAY),
        (&view.rules.keeps, Type::INT4_ARRAY),
        (&view.rules.ages, Type::INT8_ARRAY),
        (&GRACE, Type::INT8),
        (&millis(shared.config.dedup_window), Type::INT8),
        (&millis(shared.config.lane_memory), Type::INT8),
        (&BUDGET, Type::INT4),
    ];
    loop {
        let call = session.reader.query_typed_one(SWEEP, &values);
        if !timed(shared.config.timeout, call).await?.get::<_, bool>(0) {
            return Ok(());
        }
    }
}
