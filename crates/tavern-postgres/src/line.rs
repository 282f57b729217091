//! A connection and what is heard on it; and the pulse, which finds the one that is dead and does not
//! know it.
//!
//! A statement that takes too long is no lost connection. Who waits in vain gives up, and leaves it to
//! the pulse to find out which it was.

use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::connect::{Ending, timed};
use crate::failure::Failure;

/// A connection is silent for so long at most: what is in between forgets one that is idle.
const IDLE: Duration = Duration::from_secs(15);

pub(crate) struct Line {
    client: Client,
    ending: Arc<Ending>,
    /// Answers and rows so far.
    heard: AtomicU64,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("heard", &self.heard).finish_non_exhaustive()
    }
}

impl Deref for Line {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Line {
    pub(crate) fn new(client: Client, ending: Arc<Ending>) -> Self {
        Self { client, ending, heard: AtomicU64::new(0) }
    }

    /// Waits for an answer, but not for ever.
    pub(crate) async fn ask<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        let Ok(answer) = tokio::time::timeout(limit, call).await else {
            self.ending.doubt.notify_one();
            return Err(Failure::slow());
        };
        self.heard.fetch_add(1, Ordering::Relaxed);
        Ok(answer?)
    }

    /// All rows of an answer, of which each may take so long: much of it on a slow line is no fault.
    pub(crate) async fn rows(
        &self,
        limit: Duration,
        query: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Failure> {
        let values = values.iter().map(|(value, of)| (*value, of.clone()));
        let rows = self.ask(limit, self.client.query_typed_raw(query, values)).await?;
        let mut rows = pin!(rows);
        let mut all = Vec::new();
        while let Some(row) = self.ask(limit, rows.try_next()).await? {
            all.push(row);
        }
        Ok(all)
    }

    /// Asks for a sign of life, behind what is under way.
    async fn ping(&self, limit: Duration) -> Result<(), Failure> {
        let mut ping = pin!(self.client.simple_query(""));
        loop {
            let heard = self.heard.load(Ordering::Relaxed);
            match tokio::time::timeout(limit, ping.as_mut()).await {
                Ok(answer) => return Ok(answer.map(drop)?),
                // It is in the middle of something.
                Err(_) if self.heard.load(Ordering::Relaxed) != heard => {}
                Err(_) => return Err(Failure::silent()),
            }
        }
    }
}

/// The `statement_timeout` of what may take long: it is ended before it is given up.
pub(crate) fn patience(limit: Duration) -> u128 {
    (limit * 4 / 5).as_millis().max(1)
}

/// Pings all whenever somebody waits in vain, and often enough, until one does not answer in its
/// time: why.
pub(crate) async fn pulse(
    lines: [(&Line, Duration); 4],
    ending: &Ending,
    idle: Duration,
) -> Failure {
    loop {
        // Whichever it was.
        let _ = tokio::time::timeout(idle, ending.doubt.notified()).await;
        let pings = lines.map(|(line, limit)| line.ping(limit));
        if let Err(silent) = try_join_all(pings).await {
            return silent;
        }
    }
}

/// How long this server's connections may be idle.
pub(crate) async fn idle(line: &Line, limit: Duration) -> Result<Duration, Failure> {
    let ask = "SELECT coalesce(
        (SELECT setting::int8 FROM pg_settings WHERE name = 'idle_session_timeout'), 0)";
    let row = timed(limit, line.query_typed_one(ask, &[])).await?;
    let millis = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    Ok(match millis {
        0 => IDLE,
        _ => (Duration::from_millis(millis) / 3).clamp(Duration::from_millis(1), IDLE),
    })
}
