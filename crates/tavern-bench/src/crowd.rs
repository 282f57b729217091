//! A crowd of real clients that is cut off at once and comes back at once, each with another cursor:
//! a hub's process, its sockets, and everything between.
//!
//! The clients share the machine's cores with the hub. What they cost is part of the time, and not
//! of the hub's CPU.

mod client;
mod history;
mod hub;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tavern_backend::Tasks;
use tavern_sqlite::Durability;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::figure::{Figure, number};
use crate::plan::Plan;
use crate::publish::Kind;
use crate::report::Section;
use crate::run::Result;
use client::{Client, Fate};
use history::{History, Shape};
use hub::{Hub, Spent};

/// How long a crowd may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(180);

/// What becomes of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The hub is killed and started again: all comes from history.
    Killed,
    /// The clients lose their connections, the hub goes on.
    Dropped,
}

/// What it took until the last client was complete.
struct Returned {
    opened: Duration,
    took: Duration,
    spent: Spent,
    messages: usize,
}

/// Measures on each backend whose name contains `plan.rows`.
pub(crate) async fn measure(plan: &Plan) -> Result<Section> {
    let clients = plan.crowd;
    let title =
        format!("{clients} clients over sockets, cut off and back at once, each from elsewhere");
    let columns = [
        "opened in",
        "complete in",
        "messages",
        "page reads",
        "page hits",
        "head calls",
        "hub CPU",
        "hub memory",
    ];
    let mut section = Section::new(title, &columns);
    let kinds = [Kind::Sqlite(Durability::Full), Kind::Redis, Kind::Nats, Kind::Postgres];
    let wanted = plan.rows.to_lowercase();
    for kind in kinds {
        for shape in Shape::ALL {
            let row = format!("{kind}, {shape}").to_lowercase();
            if !wanted.split(',').all(|word| row.contains(word.trim())) {
                continue;
            }
            let history = Arc::new(History::write(kind, shape.sized(plan), clients).await?);
            let mut hub = Hub::start(&history.url()?).await?;
            for (cut, name) in [(Cut::Killed, "killed"), (Cut::Dropped, "dropped")] {
                let Returned { opened, took, spent, messages } =
                    crowd(&mut hub, &history, clients, cut).await?;
                section.row(
                    format!("{kind}, {shape}, {name}"),
                    [
                        Figure::Time(opened),
                        Figure::Time(took),
                        Figure::Count(number(messages)),
                        Figure::Count(spent.page_reads),
                        Figure::Count(spent.page_hits),
                        Figure::Count(spent.head_reads),
                        Figure::Time(spent.cpu),
                        Figure::Bytes(spent.memory),
                    ],
                );
            }
            hub.end().await?;
        }
    }
    Ok(section)
}

/// Opens `clients` streams, cuts them all, and has them come back.
async fn crowd(
    hub: &mut Hub,
    history: &Arc<History>,
    clients: usize,
    cut: Cut,
) -> Result<Returned> {
    let begun = Instant::now();
    let first = Streams::open(hub, history, clients, Fate::Fresh)?;
    let first = first.all().await?;
    let opened = begun.elapsed();
    match cut {
        Cut::Killed => {
            hub.kill().await?;
            first.gone().await;
            hub.start_again().await?;
        }
        Cut::Dropped => {
            first.gone().await;
            hub.forgets(clients).await?;
        }
    }
    let before = hub.spent().await?;
    let begun = Instant::now();
    let back = Streams::open(hub, history, clients, Fate::Back)?;
    let back = back.all().await?;
    let took = begun.elapsed();
    let spent = hub.spent().await?.since(&before);
    let messages = back.messages;
    back.gone().await;
    hub.forgets(clients).await?;
    Ok(Returned { opened, took, spent, messages })
}

/// Streams that are held open.
struct Streams {
    tasks: Tasks,
    clients: usize,
    reports: mpsc::Receiver<Result<usize>>,
    messages: usize,
    /// Dropped or set, it ends them.
    end: watch::Sender<()>,
}

impl Streams {
    fn open(hub: &Hub, history: &Arc<History>, clients: usize, fate: Fate) -> Result<Self> {
        let tasks = Tasks::new();
        let (reporter, reports) = mpsc::channel(clients.max(1));
        let (end, ends) = watch::channel(());
        for n in 0..clients {
            let client = Client::new(hub.address(), n, history, fate)?;
            let (reporter, mut ends) = (reporter.clone(), ends.clone());
            tasks.spawn(async move {
                let open = async {
                    let complete = client.run().await;
                    let (report, held) = match complete {
                        Ok((messages, held)) => (Ok(messages), Some(held)),
                        Err(error) => (Err(format!("client {n}: {error}").into()), None),
                    };
                    // It fails only where the measurement was given up.
                    drop(reporter.send(report).await);
                    // Holds the connection, and reads what comes.
                    if let Some(held) = held {
                        held.hold().await;
                    }
                };
                tokio::select! {
                    () = open => {}
                    _ = ends.changed() => {}
                }
            });
        }
        Ok(Self { tasks, clients, reports, messages: 0, end })
    }

    /// Waits until all are where they are to come.
    async fn all(mut self) -> Result<Self> {
        for n in 0..self.clients {
            let report = timeout(PATIENCE, self.reports.recv()).await;
            let report = report.map_err(|_| format!("only {n} of {} came", self.clients))?;
            self.messages += report.ok_or("a client ended without a word")??;
        }
        Ok(self)
    }

    /// Ends them, if they have not ended.
    async fn gone(self) {
        drop(self.end);
        self.tasks.close().await;
    }
}
