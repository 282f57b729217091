//! The table.

use std::fmt;
use std::process::Command;

use tavern_testkit::drops::Outcome;

use crate::Failure;
use crate::order::{Of, Order};

/// A line of the table.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) outcome: Result<Outcome, Failure>,
}

/// What was done, and the names of the columns.
pub(crate) fn heading(order: &Order) -> String {
    let drops = &order.drops;
    let first = format!(
        "{} clients, each cut off {} x {:?} at random in {:?}; {} topics, a message to each every \
         {:?}, {} publishers; seed {}\n",
        drops.clients,
        drops.cuts,
        drops.cut,
        drops.length,
        drops.topics,
        drops.every,
        drops.publishers,
        drops.seed
    );
    let second = format!(
        "{:<36} {:>9} {:>9} {:>9} {:>10} {:>7} {:>6} {:>7} {:>8} {:>9}\n",
        "",
        "published",
        "expected",
        "cuts",
        "delivered",
        "missing",
        "twice",
        "disord.",
        "told",
        "complete"
    );
    first + &second
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match &self.outcome {
            Ok(outcome) => outcome,
            Err(error) => return writeln!(f, "{:<36} not tried: {error}", self.name),
        };
        let Outcome { published, expected, tally, cuts, completed, .. } = outcome;
        let complete =
            completed.map_or_else(|| "never".to_owned(), |time| format!("{} ms", time.as_millis()));
        writeln!(
            f,
            "{:<36} {published:>9} {expected:>9} {cuts:>9} {:>10} {:>7} {:>6} {:>7} {:>8} {complete:>9}",
            self.name,
            percent(tally.delivered, *expected),
            expected.saturating_sub(tally.delivered),
            tally.twice,
            tally.disordered,
            tally.told,
        )?;
        if tally.foreign > 0 {
            writeln!(f, "{:<36} {} pieces that nobody published for them", "", tally.foreign)?;
        }
        Ok(())
    }
}

/// Never rounded up: 100.000 % is all of it.
fn percent(part: u64, whole: u64) -> String {
    let thousandths = part.saturating_mul(100_000).checked_div(whole).unwrap_or_default();
    format!("{}.{:03} %", thousandths / 1000, thousandths % 1000)
}

/// What ran, as it says itself.
pub(crate) fn versions(order: &Order) -> String {
    let said = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output();
        let text = output.map(|output| [output.stdout, output.stderr].concat());
        let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
        let line = text.map(|text| text.lines().next().unwrap_or_default().to_owned());
        line.unwrap_or_else(|error| format!("{program}: {error}"))
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut lines = vec![format!(
        "{}, {cores} cores, load {} when it ended",
        said("date", &["-u", "+%F %H:%M UTC"]),
        load.trim()
    )];
    let has = |of: Of, store: &str| {
        order
            .trials
            .iter()
            .any(|trial| trial.of == of && (store.is_empty() || trial.store == store))
    };
    if has(Of::Tavern, "") {
        let tavern = order.tavern.display().to_string();
        lines.push(format!("{}, its settings by default", said(&tavern, &["--version"])));
    }
    if order.trials.iter().any(|trial| trial.store.starts_with("redis")) {
        lines.push(said("redis-server", &["--version"]));
    }
    if has(Of::Tavern, "nats") {
        lines.push(said("nats-server", &["--version"]));
    }
    if has(Of::Tavern, "postgres") {
        lines.push(said("postgres", &["--version"]));
    }
    if has(Of::SocketIo, "") || has(Of::Socketioxide, "") {
        let package = order.comparison.join("socket.io/package.json");
        let package = std::fs::read_to_string(package).unwrap_or_default();
        let package: serde_json::Value = serde_json::from_str(&package).unwrap_or_default();
        let version =
            |name: &str| format!("{name} {}", package["dependencies"][name]).replace('"', "");
        lines.push(format!(
            "{}, {} and {} over {} on node {}; connection state recovery for 2 minutes, the stream \
             keeps 10,000 entries",
            version("socket.io"),
            version("socket.io-client"),
            version("@socket.io/redis-streams-adapter"),
            version("redis"),
            said("node", &["--version"]),
        ));
    }
    if has(Of::Nchan, "") {
        let nchan = said("dpkg-query", &["-W", "-f", "${Version}", "libnginx-mod-nchan"]);
        lines.push(format!(
            "nchan {nchan} in {}; 2 workers a node, buffers of 256 messages and 5 minutes, \
             EventSource, resumed with Last-Event-ID",
            said("nginx", &["-v"])
        ));
    }
    if has(Of::Socketioxide, "") {
        let toml = order.comparison.join("socketioxide/Cargo.toml");
        let toml = std::fs::read_to_string(toml).unwrap_or_default();
        let pins = toml.lines().filter(|line| line.starts_with("socketioxide"));
        let pins = pins.collect::<Vec<_>>().join(", ");
        lines.push(format!("{pins}; it has no connection state recovery, socket.io's client"));
    }
    lines.join("\n") + "\n"
}
