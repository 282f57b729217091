//! What Postgres does with nothing around it: rows inserted in batches, each with a notification.

use std::time::Duration;

use tavern_backend::Tasks;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::{PAYLOAD, TOPICS};
use crate::figure::number;
use crate::run::Result;

/// A connection of the same driver that the backend uses, and what is notified over it.
pub(crate) async fn connect(url: &str, tasks: &Tasks) -> Result<(Client, mpsc::Receiver<()>)> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    let (sender, pushes) = mpsc::channel(16);
    tasks.spawn(async move {
        let mut next = std::pin::pin!(futures_util::stream::poll_fn(move |cx| {
            connection.poll_message(cx)
        }));
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut next).await {
            if let AsyncMessage::Notification(_) = message
                && sender.try_send(()).is_err()
            {
                return;
            }
        }
    });
    Ok((client, pushes))
}

/// Messages a second, inserted as `batch` rows a statement with a notification, for `time`.
pub(super) async fn publish(url: &str, batch: usize, time: Duration) -> Result<f64> {
    let tasks = Tasks::new();
    let (client, _pushes) = connect(url, &tasks).await?;
    let table = "CREATE TABLE IF NOT EXISTS bare (
        seq int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic int4, body bytea)";
    client.batch_execute(table).await?;
    let insert = "WITH rows AS (
            INSERT INTO bare (topic, body) SELECT * FROM unnest($1::int4[], $2::bytea[]) RETURNING 1)
        SELECT count(*), pg_notify('bare', '') FROM rows";
    let insert = client.prepare_typed(insert, &[Type::INT4_ARRAY, Type::BYTEA_ARRAY]).await?;
    let topics = (0..batch).map(|n| i32::try_from(n % TOPICS)).collect::<Result<Vec<_>, _>>()?;
    let bodies = vec![vec![b'x'; PAYLOAD]; batch];
    let start = Instant::now();
    let mut messages = 0;
    while start.elapsed() < time {
        client.query_one(&insert, &[&topics, &bodies]).await?;
        messages += batch;
    }
    let rate = number(messages) / start.elapsed().as_secs_f64();
    drop(client);
    tasks.close().await;
    Ok(rate)
}
