//! The proof by chaos: `chaos TAVERN [sqlite|redis|nats|postgres|all] [--minutes N] [--seed S]
//! [--plan]`; see `scripts/chaos`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tavern_testkit::chaos::{Chaos, Engine};
use tempfile::TempDir;

#[tokio::main]
async fn main() -> ExitCode {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    let Some((binary, order)) = words.split_first().and_then(|(b, rest)| Some((b, read(rest)?)))
    else {
        let usage =
            "chaos TAVERN [sqlite|redis|nats|postgres|all] [--minutes N] [--seed S] [--plan]";
        say(&format!("{usage}\n"));
        return ExitCode::FAILURE;
    };
    let mut clean = true;
    for engine in order.engines {
        let chaos = Chaos::new(engine, order.time, order.seed);
        if order.plan {
            say(&format!("{}\n{}", engine.name(), chaos.plan()));
            continue;
        }
        clean &= run(&chaos, Path::new(binary)).await;
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(chaos: &Chaos, binary: &Path) -> bool {
    let dir = match TempDir::with_prefix("tavern-chaos-") {
        Ok(dir) => dir,
        Err(error) => {
            say(&format!("{error}\n"));
            return false;
        }
    };
    let clean = match chaos.run(binary, dir.path()).await {
        Ok(report) => {
            say(&format!("{report}\n"));
            report.is_clean()
        }
        Err(error) => {
            say(&format!("{error}\n"));
            false
        }
    };
    if !clean {
        say(&format!("the hubs' logs are in {}\n", dir.keep().display()));
    }
    clean
}

struct Order {
    engines: Vec<Engine>,
    time: Duration,
    seed: u64,
    plan: bool,
}

fn read(words: &[String]) -> Option<Order> {
    let time = Duration::from_secs(120);
    let mut order =
        Order { engines: Engine::ALL.to_vec(), time, seed: fastrand::u64(..), plan: false };
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--minutes" => {
                let minutes = words.next()?.parse::<f64>().ok()?;
                order.time = Duration::try_from_secs_f64(minutes * 60.0).ok()?;
            }
            "--seed" => order.seed = words.next()?.parse().ok()?,
            "--plan" => order.plan = true,
            "all" => order.engines = Engine::ALL.to_vec(),
            name => order.engines = vec![*Engine::ALL.iter().find(|e| e.name() == name)?],
        }
    }
    Some(order)
}

fn say(text: &str) {
    // Nobody listens if it fails.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
