//! What JetStream does with nothing around it, through its own driver.

use std::time::Duration;

use async_nats::jetstream::{self, Context, stream};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use super::{PAYLOAD, TOPICS};
use crate::figure::number;
use crate::run::Result;

/// A stream that keeps as many messages of a subject as a lane does.
pub(crate) async fn open(url: &str) -> Result<(Context, stream::Stream)> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let config = stream::Config {
        name: "bare".to_owned(),
        subjects: vec!["bare.>".to_owned()],
        max_messages_per_subject: 257,
        ..stream::Config::default()
    };
    let stream = context.get_or_create_stream(config).await?;
    Ok((context, stream))
}

/// Messages a second that are acknowledged, with so many on their way at once, for `time`.
pub(super) async fn publish(url: &str, flying: usize, time: Duration) -> Result<f64> {
    let (context, _) = open(url).await?;
    let body = Bytes::from_static(&[b'x'; PAYLOAD]);
    let start = Instant::now();
    let numbers = (0..).take_while(|_| start.elapsed() < time);
    let publishes = futures_util::stream::iter(numbers).map(|n: usize| {
        let (context, body) = (context.clone(), body.clone());
        async move {
            context.publish(format!("bare.{}", n % TOPICS), body).await?.await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        }
    });
    let done = publishes.buffer_unordered(flying).try_fold(0, |n, ()| async move { Ok(n + 1) });
    Ok(number(done.await?) / start.elapsed().as_secs_f64())
}
