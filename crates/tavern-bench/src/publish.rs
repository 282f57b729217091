//! Publishing, beside what the bare engine does in batches of the same size.

mod bare;
pub(crate) mod jetstream;
mod load;
pub(crate) mod raw;
pub(crate) mod sql;
mod store;

use std::sync::Arc;

use tavern_sqlite::Durability;

use crate::figure::{Figure, number};
use crate::pairs::{alternate, median};
use crate::plan::Plan;
use crate::report::{Section, Target};
use crate::run::Result;
use load::{Load, Through};
pub(crate) use store::{Kind, Store, USER};

/// Bytes of data in a message.
pub(crate) const PAYLOAD: usize = 256;
const TOPICS: usize = 20;

/// Measures every way to publish.
pub(crate) async fn measure(plan: &Plan) -> Result<(Section, Vec<Target>)> {
    let columns = ["publishes", "a commit", "bare engine", "ratio"];
    let title =
        format!("Publishing, {PAYLOAD} B, {TOPICS} topics: each publisher waits for its answer");
    let mut section = Section::new(title, &columns);
    let mut targets = Vec::new();
    for kind in KINDS {
        for &publishers in kind.publishers() {
            for (through, beside) in kind.ways() {
                let name = format!("{kind}, {publishers} publishers, {through}{beside}");
                if !name.contains(&plan.rows) {
                    continue;
                }
                let measured = one(plan, kind, *through, publishers, *beside).await?;
                if *beside == Beside::Bare {
                    targets.extend(target(kind, *through, publishers, &measured));
                }
                let Measured { rate, factor, bare } = measured;
                let ratio = bare.map_or(Figure::Nothing, |(_, ratio)| Figure::Ratio(ratio));
                let bare = bare.map_or(Figure::Nothing, |(rate, _)| Figure::Rate(rate));
                let factor = factor.map_or(Figure::Nothing, Figure::Count);
                section.row(name, [Figure::Rate(rate), factor, bare, ratio]);
            }
        }
    }
    Ok((section, targets))
}

const KINDS: [Kind; 6] = [
    Kind::Memory,
    Kind::Sqlite(Durability::Normal),
    Kind::Sqlite(Durability::Full),
    Kind::Redis,
    Kind::Nats,
    Kind::Postgres,
];

impl Kind {
    /// How many publish at once.
    const fn publishers(self) -> &'static [usize] {
        if matches!(self, Self::Redis | Self::Nats | Self::Postgres | Self::PostgresRelaxed) {
            &[1, 64, 256]
        } else {
            &[1, 64]
        }
    }

    const fn ways(self) -> &'static [(Through, Beside)] {
        const BOTH: &[(Through, Beside)] =
            &[(Through::Broker, Beside::Bare), (Through::Bus, Beside::Bare)];
        const ALIKE: &[(Through, Beside)] = &[BOTH[0], BOTH[1], (Through::Bus, Beside::Alike)];
        if matches!(self, Self::Nats) { ALIKE } else { BOTH }
    }
}

/// What the bare engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// It stores messages, and nothing else.
    Bare,
    /// The work that the same promises take: it knows what it was sent before, and hands every
    /// message to a subscriber.
    Alike,
}

impl std::fmt::Display for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bare => Ok(()),
            Self::Alike => f.write_str(", beside the same work"),
        }
    }
}

struct Measured {
    rate: f64,
    /// Messages in one commit.
    factor: Option<f64>,
    /// Messages of the bare engine a second, and our rate to that.
    bare: Option<(f64, f64)>,
}

async fn one(
    plan: &Plan,
    kind: Kind,
    through: Through,
    publishers: usize,
    beside: Beside,
) -> Result<Measured> {
    let store = Store::open(kind).await?;
    let load = Arc::new(Load::new(&store, through, publishers)?);
    let time = plan.publishing;
    let before = store.commits().await?;
    let warm = load.run(time / 4).await?;
    let commits = store.commits().await?.zip(before).map(|(now, then)| now.wrapping_sub(then));
    let factor = commits.map(|commits| warm.published / f64::from(commits.max(1)));
    let ours = || {
        let load = Arc::clone(&load);
        async move { Ok(load.run(time).await?.rate) }
    };
    let pairs = match (kind, factor, store.url()) {
        (Kind::Sqlite(durability), Some(factor), _) => {
            let bare = || bare::insert(durability, factor, time);
            Some(alternate(plan.pairs, ours, bare).await?)
        }
        (Kind::Redis, _, Some(url)) => {
            let bare = || raw::publish(&url, publishers, time);
            Some(alternate(plan.pairs, ours, bare).await?)
        }
        (Kind::Postgres, _, Some(url)) => {
            let bare = || sql::publish(&url, publishers, time);
            Some(alternate(plan.pairs, ours, bare).await?)
        }
        (Kind::Nats, _, Some(url)) => {
            let bare = || jetstream::publish(&url, publishers, time, beside == Beside::Alike);
            Some(alternate(plan.pairs, ours, bare).await?)
        }
        _ => None,
    };
    let measured = match pairs {
        Some(pairs) => {
            let bare = Some((pairs.theirs, pairs.ratio));
            Measured { rate: pairs.ours, factor, bare }
        }
        None => {
            let mut rates = Vec::with_capacity(plan.pairs);
            for _ in 0..plan.pairs {
                rates.push(ours().await?);
            }
            Measured { rate: median(rates), factor: None, bare: None }
        }
    };
    load.close().await?;
    Ok(measured)
}

/// What is wanted of 64 publishers through a broker.
fn target(kind: Kind, through: Through, publishers: usize, measured: &Measured) -> Option<Target> {
    let (what, wanted, reached) = match (kind, through) {
        (Kind::Redis, Through::Bus) if publishers > 1 => {
            let what = if publishers == 64 {
                "Redis, 64 publishers, on the bus, to pipelined XADD and PUBLISH"
            } else {
                "Redis, 256 publishers, on the bus, to pipelined XADD and PUBLISH"
            };
            (what, Figure::Ratio(0.5), Figure::Ratio(measured.bare?.1))
        }
        (Kind::Postgres, Through::Bus) if publishers == 64 => {
            let what = "Postgres, 64 publishers, on the bus, to batched inserts and a notification";
            (what, Figure::Ratio(0.7), Figure::Ratio(measured.bare?.1))
        }
        (Kind::Nats, Through::Bus) if publishers == 256 => {
            let what = "NATS, 256 publishers, on the bus, to JetStream publishes of its driver";
            (what, Figure::Ratio(0.8), Figure::Ratio(measured.bare?.1))
        }
        _ if publishers != 64 => return None,
        (Kind::Sqlite(Durability::Normal), Through::Broker) => {
            let what = "SQLite NORMAL, 64 publishers, through a broker";
            (what, Figure::Rate(number(30_000)), Figure::Rate(measured.rate))
        }
        (Kind::Sqlite(Durability::Full), Through::Broker) => {
            let what = "SQLite FULL, 64 publishers, through a broker, to bare batched inserts";
            (what, Figure::Ratio(0.8), Figure::Ratio(measured.bare?.1))
        }
        (Kind::Sqlite(Durability::Full), Through::Bus) => {
            let what = "SQLite FULL, 64 publishers, on the bus, to bare batched inserts";
            (what, Figure::Ratio(0.8), Figure::Ratio(measured.bare?.1))
        }
        _ => return None,
    };
    Some(Target { what, wanted, reached })
}
