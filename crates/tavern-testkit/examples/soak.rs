//! The soak in full: `soak TAVERN sqlite|redis|nats|postgres [PUBLISHERS MESSAGES TOPICS CLIENTS SECONDS]`; see
//! `scripts/soak`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tavern_testkit::engine::{
    NatsOptions, NatsServer, PostgresOptions, PostgresServer, RedisOptions, RedisServer,
};
use tavern_testkit::proxy::Proxy;
use tavern_testkit::soak::{Outcome, Soak, Trouble};
use tokio::process::Command;

#[tokio::main]
async fn main() -> ExitCode {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    let (Some(binary), Some("sqlite" | "redis" | "nats" | "postgres")) =
        (words.first(), words.get(1).map(String::as_str))
    else {
        return say(
            "soak TAVERN sqlite|redis|nats|postgres [PUBLISHERS MESSAGES TOPICS CLIENTS SECONDS]\n",
            ExitCode::FAILURE,
        );
    };
    // `publisher` in front of its number and the urls: this process is one of the publishers.
    let publisher = words.iter().position(|word| word == "publisher");
    let (sizes, orders) = words.split_at(publisher.unwrap_or(words.len()));
    let mut soak = size(sizes);
    if let [_, number, urls @ ..] = orders {
        let number = number.parse().unwrap_or(0);
        return match soak.publish(number, urls).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say(&format!("publisher {number}: {error}\n"), ExitCode::FAILURE),
        };
    }
    let (dir, this) = match (tempfile::tempdir(), std::env::current_exe()) {
        (Ok(dir), Ok(this)) => (dir, this),
        (dir, this) => return say(&format!("{dir:?} {this:?}\n"), ExitCode::FAILURE),
    };
    let engine = match Engine::start(&words[1]).await {
        Ok(engine) => engine,
        Err(error) => return say(&format!("{error}\n"), ExitCode::FAILURE),
    };
    soak.backend = engine.url();
    let trouble = engine.trouble();
    let arguments = words.iter().take(7).cloned().collect::<Vec<_>>();
    let start = |number: usize, urls: &[String]| {
        let mut publisher = Command::new(&this);
        publisher.args(&arguments).arg("publisher").arg(number.to_string()).args(urls);
        publisher.kill_on_drop(true).spawn()
    };
    let ran = soak.clone().run(Path::new(binary), dir.path(), start, trouble);
    match ran.await {
        Ok(outcome) => report(&soak, &outcome),
        Err(error) => say(&format!("{error}\n"), ExitCode::FAILURE),
    }
}

/// What the hubs stand on.
enum Engine {
    Sqlite,
    Redis(RedisServer),
    Nats(NatsServer, Proxy),
    Postgres(PostgresServer, Proxy),
}

impl Engine {
    async fn start(name: &str) -> std::io::Result<Self> {
        Ok(match name {
            "redis" => {
                Self::Redis(RedisServer::start(RedisOptions::default().with_appendonly()).await?)
            }
            "nats" => {
                let options = NatsOptions::default().with_lame_duck_grace(Duration::from_secs(1));
                let server = NatsServer::start(options).await?;
                let wire = Proxy::to(server.port()).await?;
                Self::Nats(server, wire)
            }
            "postgres" => {
                let server = PostgresServer::start(PostgresOptions::new()).await?;
                let wire = Proxy::to(server.port()).await?;
                Self::Postgres(server, wire)
            }
            _ => Self::Sqlite,
        })
    }

    fn url(&self) -> Option<String> {
        match self {
            Self::Sqlite => None,
            Self::Redis(server) => Some(server.url()),
            Self::Nats(_, wire) => Some(format!("nats://127.0.0.1:{}", wire.port())),
            Self::Postgres(_, wire) => {
                Some(format!("postgres://postgres@127.0.0.1:{}/postgres", wire.port()))
            }
        }
    }

    fn trouble(&self) -> Trouble<'_> {
        let pause = Duration::from_secs(20);
        match self {
            Self::Sqlite => Trouble::Hubs,
            Self::Redis(server) => Trouble::Redis(server, pause),
            Self::Nats(server, wire) => Trouble::Nats(server, wire, pause),
            Self::Postgres(server, wire) => Trouble::Postgres(server, wire, pause),
        }
    }
}

fn size(words: &[String]) -> Soak {
    let number =
        |n: usize, default: u64| words.get(n).and_then(|w| w.parse().ok()).unwrap_or(default);
    let small = |n, default| usize::try_from(number(n, default)).unwrap_or(1);
    Soak {
        publishers: small(2, 4),
        messages: number(3, 10_000),
        topics: small(4, 20),
        clients: small(5, 200),
        pause: Duration::from_millis(80),
        every: Duration::from_millis(700),
        backend: None,
        limit: Duration::from_secs(number(6, 300)),
        seed: 7,
    }
}

fn report(soak: &Soak, outcome: &Outcome) -> ExitCode {
    let published = soak.messages * u64::try_from(soak.publishers).unwrap_or(0);
    let rows = [
        ("publisher processes", soak.publishers.to_string()),
        ("messages published", published.to_string()),
        ("topics", soak.topics.to_string()),
        ("clients", soak.clients.to_string()),
        ("clients whose record is complete, in order, once", outcome.complete.to_string()),
        ("messages received", format!("{} of {}", outcome.received, outcome.expected)),
        ("gaps told", outcome.gaps.to_string()),
        ("times a client moved", outcome.moves.to_string()),
        ("streams that ended by themselves", outcome.ended.to_string()),
        ("times something was killed, stopped or cut", outcome.troubles.to_string()),
        ("seconds", format!("{:.1}", outcome.took.as_secs_f64())),
    ];
    let mut table = rows.map(|(what, value)| format!("{what:<50} {value}\n")).concat();
    for wrong in outcome.wrong.iter().take(20) {
        table.push_str(wrong);
        table.push('\n');
    }
    let whole = outcome.wrong.is_empty() && outcome.complete == soak.clients && outcome.ended == 0;
    say(&table, if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(text: &str, code: ExitCode) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        // Nobody listens.
        Err(_) => ExitCode::FAILURE,
    }
}
