//! What JetStream does with nothing around it, through its own driver.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, Context, stream};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tavern_backend::NodeId;
use tokio::time::Instant;

use super::{PAYLOAD, TOPICS};
use crate::figure::number;
use crate::run::Result;

/// A stream that keeps as many messages of a subject as a lane does.
pub(crate) async fn open(url: &str, republishes: bool) -> Result<Context> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let config = stream::Config {
        name: "bare".to_owned(),
        subjects: vec!["bare.>".to_owned()],
        max_messages_per_subject: 257,
        republish: republishes.then(|| stream::Republish {
            source: "bare.>".to_owned(),
            destination: "pushed.>".to_owned(),
            headers_only: false,
        }),
        ..stream::Config::default()
    };
    context.create_or_update_stream(config).await?;
    Ok(context)
}

/// Messages a second that are acknowledged, with so many on their way at once, for `time`. `alike`:
/// each has an id, and goes to a subscriber.
pub(super) async fn publish(url: &str, flying: usize, time: Duration, alike: bool) -> Result<f64> {
    let context = open(url, alike).await?;
    let subscriber = async_nats::connect(url).await?.subscribe("pushed.>").await?;
    let body = Bytes::from_static(&[b'x'; PAYLOAD]);
    // Nothing is a duplicate, of another run neither.
    let run = NodeId::random()?;
    let start = Instant::now();
    let numbers = (0..).take_while(|_| start.elapsed() < time);
    let publishes = futures_util::stream::iter(numbers).map(|n: usize| {
        let (context, body) = (context.clone(), body.clone());
        async move {
            let subject = format!("bare.{}", n % TOPICS);
            let acknowledged = if alike {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", format!("{run}.{n}"));
                context.publish_with_headers(subject, headers, body).await?
            } else {
                context.publish(subject, body).await?
            };
            acknowledged.await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        }
    });
    let done = publishes.buffer_unordered(flying).try_fold(0, |n, ()| async move { Ok(n + 1) });
    tokio::select! {
        published = done => Ok(number(published?) / start.elapsed().as_secs_f64()),
        _ = subscriber.count() => Err("the connection ended".into()),
    }
}
