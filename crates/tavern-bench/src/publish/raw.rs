//! What Redis does with nothing around it: `XADD` and `PUBLISH` in pipelines.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Value};
use tokio::time::Instant;

use super::{PAYLOAD, TOPICS};
use crate::figure::number;
use crate::run::Result;

/// A connection of the same driver that the backend uses.
pub(crate) async fn connect(url: &str) -> Result<MultiplexedConnection> {
    Ok(Client::open(url)?.get_multiplexed_async_connection().await?)
}

/// Messages a second, each added to a stream that keeps as many as a lane does and published, in
/// pipelines of `batch` messages for `time`.
pub(super) async fn publish(url: &str, batch: usize, time: Duration) -> Result<f64> {
    let mut conn = connect(url).await?;
    let body = [b'x'; PAYLOAD];
    let start = Instant::now();
    let mut messages = 0;
    while start.elapsed() < time {
        let mut pipeline = redis::pipe();
        for n in messages..messages + batch {
            let stream = format!("raw:{}", n % TOPICS);
            pipeline.cmd("XADD").arg(&stream).arg("MAXLEN").arg(257).arg("*").arg("r").arg(&body);
            pipeline.cmd("PUBLISH").arg(&stream).arg(&body);
        }
        for answer in conn.send_packed_commands(&pipeline, 0, 2 * batch).await? {
            Value::extract_error(answer)?;
        }
        messages += batch;
    }
    Ok(number(messages) / start.elapsed().as_secs_f64())
}
