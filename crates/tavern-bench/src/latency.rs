//! How long a message takes from a publisher on one node to a subscriber on another, one at a time.

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use bytes::Bytes;
use futures_util::StreamExt as _;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, PushKind, Value, cmd};
use tavern_backend::{MessageEnvelope, Payload, Tasks, Topic};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::figure::Figure;
use crate::pairs::{alternate, median};
use crate::plan::Plan;
use crate::publish::{Kind, PAYLOAD, Store, jetstream, raw, sql};
use crate::report::{Section, Target};
use crate::run::Result;

/// Measures the backends that have a push of their own.
pub(crate) async fn measure(plan: &Plan) -> Result<(Section, Vec<Target>)> {
    let title = format!("Publish to subscriber on another node, {PAYLOAD} B, one at a time");
    let mut section = Section::new(title, &["median", "bare engine", "ratio"]);
    let mut targets = Vec::new();
    let all = [
        (Kind::Redis, false),
        (Kind::Nats, false),
        (Kind::Postgres, false),
        (Kind::Postgres, true),
        (Kind::PostgresRelaxed, false),
        (Kind::PostgresRelaxed, true),
    ];
    for (kind, stored) in all {
        let beside = match (kind, stored) {
            (Kind::Redis, _) => "PUBLISH and SUBSCRIBE",
            (Kind::Nats, _) => "an ordered consumer",
            // A notification alone waits for no disk.
            (_, false) => "NOTIFY and LISTEN",
            (_, true) => "an INSERT with NOTIFY, and LISTEN",
        };
        let name = format!("{kind}, on the bus, beside {beside}");
        if !name.contains(&plan.rows) {
            continue;
        }
        let store = Store::open(kind).await?;
        let url = store.url().ok_or("a server is expected")?;
        let (to, from) = (store.bus.clone(), store.another().await?);
        let ours = || through_bus(&to, &from, plan.latencies);
        let (what, wanted, pairs) = match kind {
            Kind::Redis => (
                "Redis, to a subscriber: the bare engine's time to ours",
                0.5,
                alternate(plan.pairs, ours, || bare(&url, plan.latencies)).await?,
            ),
            Kind::Postgres | Kind::PostgresRelaxed => (
                match (kind, stored) {
                    (Kind::Postgres, true) => {
                        "Postgres, to a subscriber: the time of a stored notification to ours"
                    }
                    (Kind::Postgres, false) => {
                        "Postgres, to a subscriber: the bare engine's time to ours"
                    }
                    (_, true) => {
                        "Postgres, waiting for no disk, to a subscriber: the time of a stored \
                         notification to ours"
                    }
                    (_, false) => {
                        "Postgres, waiting for no disk, to a subscriber: the bare engine's time \
                         to ours"
                    }
                },
                0.5,
                alternate(plan.pairs, ours, || notified(&url, plan.latencies, stored)).await?,
            ),
            _ => (
                "NATS, to a subscriber: an ordered consumer's time to ours",
                0.67,
                alternate(plan.pairs, ours, || ordered(&url, plan.latencies)).await?,
            ),
        };
        let seconds = std::time::Duration::from_secs_f64;
        let row = [
            Figure::Time(seconds(pairs.ours)),
            Figure::Time(seconds(pairs.theirs)),
            Figure::Ratio(pairs.ratio),
        ];
        section.row(name, row);
        from.close().await?;
        to.close().await?;
        let reached = Figure::Ratio(1.0 / pairs.ratio);
        targets.push(Target { what, wanted: Figure::Ratio(wanted), reached });
    }
    Ok((section, targets))
}

/// The median of `count` messages, in seconds.
async fn through_bus(
    to: &tavern_backend::Bus,
    from: &tavern_backend::Bus,
    count: usize,
) -> Result<f64> {
    let topic = Topic::new("latency")?;
    let payload = Payload::from("x".repeat(PAYLOAD));
    let mut subscription = from.subscribe(topic.clone()).await?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let envelope = MessageEnvelope::new(topic.clone(), payload.clone());
        let (published, received) = tokio::join!(to.publish(envelope), async {
            subscription.recv().await.map(|_| start.elapsed())
        });
        published?;
        times.push(received.ok_or("the subscription ended")?.as_secs_f64());
    }
    Ok(median(times))
}

/// The same with `PUBLISH` and `SUBSCRIBE` through the same driver.
async fn bare(url: &str, count: usize) -> Result<f64> {
    let client = Client::open(url)?;
    let info = client.get_connection_info().clone();
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let client = Client::open(info.set_redis_settings(redis))?;
    let (sender, mut pushes) = mpsc::channel(16);
    let forward = move |push: PushInfo| match push.kind {
        PushKind::Message => sender.try_send(()),
        _ => Ok(()),
    };
    let config = AsyncConnectionConfig::new().set_push_sender(forward);
    let mut subscriber = client.get_multiplexed_async_connection_with_config(&config).await?;
    subscriber.subscribe("bare").await?;
    let mut publisher = raw::connect(url).await?;
    let body = [b'x'; PAYLOAD];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let command = cmd("PUBLISH").arg("bare").arg(&body).clone();
        let (published, received) = tokio::join!(publisher.send_packed_command(&command), async {
            pushes.recv().await.map(|()| start.elapsed())
        });
        Value::extract_error(published?)?;
        times.push(received.ok_or("the subscription ended")?.as_secs_f64());
    }
    Ok(median(times))
}

/// The same with a publish to JetStream and an ordered consumer.
async fn ordered(url: &str, count: usize) -> Result<f64> {
    let context = jetstream::open(url, false).await?;
    let theirs = jetstream::open(url, false).await?.get_stream("bare").await?;
    // A consumer that the driver makes anew goes on from here, and misses nothing.
    let start_sequence = theirs.cached_info().state.last_sequence + 1;
    let config = OrderedConfig {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
        filter_subject: "bare.latency".to_owned(),
        ..OrderedConfig::default()
    };
    let mut messages = theirs.create_consumer(config).await?.messages().await?;
    let body = Bytes::from_static(&[b'x'; PAYLOAD]);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let publish = async { context.publish("bare.latency", body.clone()).await?.await };
        let (published, received) =
            tokio::join!(publish, async { messages.next().await.map(|_| start.elapsed()) });
        published?;
        times.push(received.ok_or("the consumer ended")?.as_secs_f64());
    }
    Ok(median(times))
}

/// The same with `NOTIFY` and `LISTEN`, one transaction each, which also inserts the row or does not.
async fn notified(url: &str, count: usize, stored: bool) -> Result<f64> {
    let tasks = Tasks::new();
    let (listener, mut pushes) = sql::connect(url, &tasks).await?;
    listener.batch_execute("LISTEN bare").await?;
    let (publisher, _) = sql::connect(url, &tasks).await?;
    let body = "x".repeat(PAYLOAD);
    let mut notify = format!("NOTIFY bare, '{body}'");
    if stored {
        publisher.batch_execute("CREATE TABLE IF NOT EXISTS told (body text)").await?;
        notify = format!("BEGIN; INSERT INTO told VALUES ('{body}'); {notify}; COMMIT");
    }
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        let (published, received) = tokio::join!(publisher.batch_execute(&notify), async {
            pushes.recv().await.map(|()| start.elapsed())
        });
        published?;
        times.push(received.ok_or("the connection ended")?.as_secs_f64());
    }
    drop((listener, publisher));
    tasks.close().await;
    Ok(median(times))
}
