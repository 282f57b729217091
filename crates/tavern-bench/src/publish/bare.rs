//! What SQLite does with nothing around it: one table, one thread, one prepared statement.

use std::time::Duration;

use rusqlite::Connection;
use tavern_sqlite::Durability;
use tempfile::TempDir;
use tokio::time::Instant;

use super::PAYLOAD;
use crate::figure::number;
use crate::run::Result;

/// Rows a second, inserted in commits of `factor` rows on average for `time`.
pub(super) async fn insert(durability: Durability, factor: f64, time: Duration) -> Result<f64> {
    tokio::task::spawn_blocking(move || insert_now(durability, factor, time)).await?
}

fn insert_now(durability: Durability, factor: f64, time: Duration) -> Result<f64> {
    let directory = TempDir::with_prefix("tavern-bench-")?;
    let database = Connection::open(directory.path().join("bare.db"))?;
    database.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {durability:?};
         CREATE TABLE bare (seq INTEGER PRIMARY KEY, at INTEGER, body BLOB);"
    ))?;
    let body = [b'x'; PAYLOAD];
    let mut insert = database.prepare("INSERT INTO bare (at, body) VALUES (?1, ?2)")?;
    let start = Instant::now();
    let (mut rows, mut due) = (0, 0.0);
    while start.elapsed() < time {
        database.execute_batch("BEGIN IMMEDIATE")?;
        due += factor;
        while number(rows) < due {
            insert.execute((0_i64, body))?;
            rows += 1;
        }
        database.execute_batch("COMMIT")?;
    }
    Ok(number(rows) / start.elapsed().as_secs_f64())
}
