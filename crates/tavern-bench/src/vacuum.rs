//! How Postgres's tables fare while much goes through them, and while vacuum is held up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tavern_backend::{Append, Bus, MessageEnvelope, Payload, Publication, Tasks, Topic};
use tavern_testkit::engine::{PostgresOptions, PostgresServer};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::figure::{Figure, number};
use crate::plan::Plan;
use crate::publish::{PAYLOAD, USER, sql};
use crate::report::Section;
use crate::run::Result;

/// Messages of one call, of a caller as of a statement.
const BATCH: usize = 50;
const TOPICS: usize = 200;
/// Looks at the tables while the messages go through.
const LOOKS: usize = 8;

/// Bytes of everything and of the log itself, its dead rows, and visits of autovacuum to any table.
const LOOK: &str = "
    SELECT sum(pg_total_relation_size(relid))::float8,
        sum(pg_total_relation_size(relid)) FILTER (WHERE relname = 'entry')::float8,
        sum(n_dead_tup) FILTER (WHERE relname = 'entry')::float8,
        sum(autovacuum_count)::float8,
        (SELECT count(*) FROM tavern.entry)::float8
    FROM pg_stat_user_tables WHERE schemaname = 'tavern'";

/// Publishes, half on the bus and half in SQL, and looks at the tables meanwhile.
pub(crate) async fn measure(plan: &Plan) -> Result<Section> {
    let count = plan.vacuumed;
    let title = format!(
        "Postgres's tables: {} messages, {PAYLOAD} B, {TOPICS} topics, half of them in SQL; the \
         default rules and autovacuum's default settings",
        Figure::Count(number(count))
    );
    let columns = ["messages", "on the disk", "the log", "entries", "dead", "autovacuums"];
    let mut section = Section::new(title, &columns);
    let server = PostgresServer::start(PostgresOptions::new()).await?;
    let (tasks, url) = (Tasks::new(), server.url(USER, USER));
    let config = tavern_postgres::PostgresConfig::new(&url);
    let bus = Bus::new(tavern_postgres::PostgresBackend::open(config).await?);
    let (watcher, _) = sql::connect(&url, &tasks).await?;
    let begun = Instant::now();
    for look in 1..=LOOKS {
        let rate = publish(&bus, &url, Until::Sent(count / LOOKS)).await?;
        let at = format!("after {} ({:.0?})", count / LOOKS * look, begun.elapsed());
        section.row(at, look_at(&watcher, rate).await?);
    }

    // What a transaction may still see, nobody removes.
    let (holder, _) = sql::connect(&url, &tasks).await?;
    holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM tavern.entry").await?;
    for part in 1..=2 {
        let rate = publish(&bus, &url, Until::Passed(plan.held / 2)).await?;
        let at = format!("a transaction open for {:.0?}", plan.held / 2 * part);
        section.row(at, look_at(&watcher, rate).await?);
    }
    holder.batch_execute("COMMIT").await?;
    for part in 1..=2 {
        let rate = publish(&bus, &url, Until::Passed(plan.held / 2)).await?;
        let at = format!("ended for {:.0?}", plan.held / 2 * part);
        section.row(at, look_at(&watcher, rate).await?);
    }
    bus.close().await?;
    drop((watcher, holder));
    tasks.close().await;
    Ok(section)
}

async fn look_at(watcher: &Client, rate: f64) -> Result<[Figure; 6]> {
    let row = watcher.query_one(LOOK, &[]).await?;
    Ok([
        Figure::Rate(rate),
        Figure::Bytes(row.try_get(0)?),
        Figure::Bytes(row.try_get(1)?),
        Figure::Count(row.try_get(4)?),
        Figure::Count(row.try_get(2)?),
        Figure::Count(row.try_get(3)?),
    ])
}

#[derive(Debug, Clone, Copy)]
enum Until {
    Sent(usize),
    Passed(Duration),
}

impl Until {
    fn is_over(self, sent: usize, since: Instant) -> bool {
        match self {
            Self::Sent(count) => sent >= count,
            Self::Passed(time) => since.elapsed() >= time,
        }
    }
}

/// Half on the bus, half in SQL, until both are in the log. Returns messages a second.
async fn publish(bus: &Bus, url: &str, until: Until) -> Result<f64> {
    let tasks = Tasks::new();
    let (start, sent) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let (done, mut outcomes) = mpsc::channel(2);
    let (bus, counted, told) = (bus.clone(), Arc::clone(&sent), done.clone());
    tasks.spawn(async move {
        // Who measures is there until both are done.
        drop(told.send(on_the_bus(&bus, &counted, until, start).await).await);
    });
    let (client, _pushes) = sql::connect(url, &tasks).await?;
    let counted = Arc::clone(&sent);
    tasks
        .spawn(async move { drop(done.send(in_sql(&client, &counted, until, start).await).await) });
    while let Some(outcome) = outcomes.recv().await {
        outcome?;
    }
    let rate = number(sent.load(Relaxed)) / start.elapsed().as_secs_f64();
    tasks.close().await;
    Ok(rate)
}

async fn on_the_bus(bus: &Bus, sent: &AtomicUsize, until: Until, start: Instant) -> Result<()> {
    let payload = Payload::from("x".repeat(PAYLOAD));
    let mut ours = 0;
    while !until.is_over(ours * 2, start) {
        let publications = (ours..ours + BATCH).map(|n| {
            let topic = Topic::new(format!("topic/{}", n % TOPICS))?;
            let envelope = MessageEnvelope::new(topic, payload.clone());
            Ok(Publication { key: bus.next_key(), envelope, accepted: Instant::now() })
        });
        let publications = publications.collect::<Result<_>>()?;
        bus.append(Append { known: None, publications }).await?;
        ours += BATCH;
        sent.fetch_add(BATCH, Relaxed);
    }
    Ok(())
}

async fn in_sql(client: &Client, sent: &AtomicUsize, until: Until, start: Instant) -> Result<()> {
    let publish = format!(
        "SELECT tavern.publish('topic/' || n % {TOPICS}, repeat('y', {PAYLOAD}))
            FROM generate_series($1::int8 + 1, $1::int8 + {BATCH}) n"
    );
    let publish = client.prepare(&publish).await?;
    let waiting = client.prepare("SELECT count(*) FROM tavern.outbox").await?;
    let mut ours = 0;
    while !until.is_over(ours * 2, start) {
        client.execute(&publish, &[&i64::try_from(ours)?]).await?;
        ours += BATCH;
        sent.fetch_add(BATCH, Relaxed);
        // Nodes move no faster than they can; what waits would be measured, and not the log.
        while client.query_one(&waiting, &[]).await?.try_get::<_, i64>(0)? > 1000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    while client.query_one(&waiting, &[]).await?.try_get::<_, i64>(0)? > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
