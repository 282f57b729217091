//! What is shown, and what must hold of it.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::node::Node;
use super::reader::{Arrival, Reader, seq};
use crate::client::{explain, refusal};
use crate::failure::Failure;
use crate::output::line;

/// Messages of each part that is told one by one.
const FEW: usize = 5;
/// Messages through each node in the last part, and the topics they go to: fewer for each topic
/// than the log keeps.
const MANY: usize = 1_000;
const TOPICS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn tell(dir: &Path, once: bool) -> Result<(), Failure> {
    line("Two nodes: two processes on one SQLite file, no server beside them.\n")?;
    let a = Node::start("A", dir, "127.0.0.1:0").await?;
    let mut b = Node::start("B", dir, "127.0.0.1:0").await?;
    for node in [&a, &b] {
        line(format_args!("  node {}  {}  pid {}", node.name, node.url, node.pid().unwrap_or(0)))?;
    }

    line("\n1. A reader follows `orders/**` on B. Published on A:\n")?;
    let mut reader = Reader::new("orders/**", "");
    reader.open(&b).await?;
    let position = |r: &Reader| !r.last_event_id().is_empty();
    reader.until("the position to begin at", PATIENCE, position).await?;
    let begin = reader.last_event_id().to_owned();
    let mut delays = Vec::new();
    for number in 1..=FEW {
        let sent = Instant::now();
        publish(&a, &[message(1, &format!("order {number}"))]).await?;
        reader.until("a message", PATIENCE, |r| r.arrivals.len() == number).await?;
        let arrival = last(&reader)?;
        let delay = arrival.at - sent;
        line(format_args!(
            "  {}  arrives on B after {delay:.1?}  id {}",
            arrival.data, arrival.id
        ))?;
        delays.push(delay);
    }

    line(format_args!("\n2. kill -9 {}: B is gone, its reader cut off.", b.pid().unwrap_or(0)))?;
    b.kill().await?;
    reader.until_cut(PATIENCE).await?;
    let left_off = reader.last_event_id().to_owned();
    let missed: Vec<_> = (FEW + 1..=2 * FEW).map(|n| message(1, &format!("order {n}"))).collect();
    publish(&a, &missed).await?;
    line(format_args!("   Meanwhile {FEW} more are published on A."))?;

    line(format_args!(
        "\n3. B starts again; the reader comes back with Last-Event-ID {left_off}:\n"
    ))?;
    let started = Instant::now();
    let b = Node::start("B", dir, &b.address()).await?;
    reader.open(&b).await?;
    reader.until("the end of the replay", PATIENCE, |r| r.reconnected.len() == 1).await?;
    let resumed = started.elapsed();
    for arrival in &reader.arrivals[FEW..] {
        line(format_args!("  {}  id {}", arrival.data, arrival.id))?;
    }
    line(format_args!("  tavern-reconnected {}", reader.reconnected[0]))?;

    line("\n4. The same id on the other node, A, which never saw this reader:\n")?;
    let mut other = Reader::new("orders/**", &left_off);
    other.open(&a).await?;
    other.until("the end of the replay", PATIENCE, |r| r.reconnected.len() == 1).await?;
    line(format_args!("  tavern-reconnected {}", other.reconnected[0]))?;

    let total = 2 * MANY;
    line(format_args!("\n5. {total} more, {MANY} through each node at once:\n"))?;
    let many = |node: &str| -> Vec<String> {
        (0..MANY).map(|n| message(n % TOPICS, &format!("{node} {n}"))).collect()
    };
    let (from_a, from_b) = (many("A"), many("B"));
    let begun = Instant::now();
    let expected = 2 * FEW + total;
    let (first, second, all) = tokio::join!(
        publish(&a, &from_a),
        publish(&b, &from_b),
        reader.until("all of them", PATIENCE, |r| r.arrivals.len() >= expected),
    );
    first.and(second).and(all)?;
    let took = begun.elapsed();
    line(format_args!("  {total} published and read in {took:.1?}"))?;

    let mut whole = Reader::new("orders/**", &begin);
    whole.open(&a).await?;
    whole.until("the end of the replay", PATIENCE, |r| r.reconnected.len() == 1).await?;
    let found = Findings::of(&reader, &other, &whole, expected);
    delays.sort();
    line("\nWhat came of it:\n")?;
    line(format_args!("  published {expected}, read {}", reader.arrivals.len()))?;
    line(format_args!(
        "  lost {}, twice {}, out of order {}, gaps {}",
        found.lost, found.twice, found.disordered, found.gaps
    ))?;
    line(format_args!(
        "  from one process to the other: median {:.1?}, slowest {:.1?}",
        delays[delays.len() / 2],
        delays[delays.len() - 1]
    ))?;
    line(format_args!(
        "  from the start of a killed node to its reader's whole replay: {resumed:.1?}"
    ))?;
    found.judge()?;
    if !once {
        stay(&a, &b).await?;
    }
    a.stop().await?;
    b.stop().await?;
    line("\nAll as it must be.")
}

/// Leaves the nodes to whoever wants to try them, until this future is dropped.
async fn stay(a: &Node, b: &Node) -> Result<(), Failure> {
    line("\nBoth nodes go on. Try, in other terminals:\n")?;
    line(format_args!("  curl -N '{}/events?topic=orders/**'", b.url))?;
    line(format_args!("  curl -d hello {}/topics/orders/7", a.url))?;
    line(format_args!("  a browser on {}/ and {}/", a.url, b.url))?;
    line("\nCtrl-C ends it and leaves nothing behind.")?;
    std::future::pending().await
}

/// What the readers' records show.
struct Findings {
    lost: usize,
    twice: usize,
    disordered: usize,
    gaps: usize,
    /// Whether the other node resumed as the restarted one did.
    same: bool,
    /// Whether what each kept of the log agrees with what was read live.
    replayed: bool,
}

impl Findings {
    fn of(reader: &Reader, other: &Reader, whole: &Reader, expected: usize) -> Self {
        let data: HashSet<_> = reader.arrivals.iter().map(|arrival| &arrival.data).collect();
        let ids = |arrivals: &[Arrival]| -> Vec<_> {
            arrivals.iter().map(|arrival| arrival.id.clone()).collect()
        };
        let places: Vec<_> = reader.arrivals.iter().map(|arrival| seq(&arrival.id)).collect();
        let before = &reader.arrivals[FEW..2 * FEW];
        Self {
            lost: expected.saturating_sub(data.len()),
            twice: reader.arrivals.len().saturating_sub(data.len()),
            disordered: places.windows(2).filter(|pair| pair[0] >= pair[1]).count(),
            gaps: reader.gaps.len() + other.gaps.len() + whole.gaps.len(),
            same: ids(before) == ids(&other.arrivals),
            replayed: ids(&reader.arrivals) == ids(&whole.arrivals),
        }
    }

    fn judge(&self) -> Result<(), Failure> {
        let clean = self.lost + self.twice + self.disordered + self.gaps == 0;
        if !clean {
            return Err(Failure::failed("the record is not what it must be"));
        }
        if !self.same {
            return Err(Failure::failed("the two nodes resumed the same id differently"));
        }
        if !self.replayed {
            return Err(Failure::failed("the log is not what was read from it live"));
        }
        Ok(())
    }
}

/// One line of NDJSON.
fn message(topic: usize, data: &str) -> String {
    serde_json::json!({ "topic": format!("orders/{topic}"), "data": data }).to_string()
}

/// Publishes, and sees that each message was stored.
async fn publish(node: &Node, messages: &[String]) -> Result<(), Failure> {
    let request = node.hub.client().post(node.hub.url("publish"));
    let request = request.header("content-type", "application/x-ndjson").body(messages.join("\n"));
    let lost = |error| {
        Failure::failed(format_args!("node {} does not answer: {}", node.name, explain(error)))
    };
    let response = request.timeout(PATIENCE).send().await.map_err(lost)?;
    if !response.status().is_success() {
        return Err(Failure::failed(refusal(response).await));
    }
    let answers = response.text().await.map_err(lost)?;
    let stored = answers.lines().filter(|line| line.contains(r#""status":"stored""#)).count();
    if stored == messages.len() {
        return Ok(());
    }
    let answer = answers.lines().find(|line| !line.contains("stored")).unwrap_or_default();
    Err(Failure::failed(format_args!(
        "node {} stored {stored} of {}: {answer}",
        node.name,
        messages.len()
    )))
}

fn last(reader: &Reader) -> Result<&Arrival, Failure> {
    reader.arrivals.last().ok_or_else(|| Failure::failed("no message was read"))
}
