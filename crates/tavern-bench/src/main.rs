//! Prints how fast Tavern is here, beside what it is to be compared with.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tavern_bench::{CountingAllocator, Part, Plan, run};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Measures Tavern beside what it is to be compared with, in the same run.
#[derive(Debug, Parser)]
#[command(name = "tavern-bench")]
struct Arguments {
    /// A few seconds instead of a few minutes: shows that every part runs; its figures say nothing.
    #[arg(long)]
    quick: bool,
    /// Also 15,000 clients that resume at once.
    #[arg(long)]
    long: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Of fan-out, publishing, latency and crowds, only rows whose name contains this.
    #[arg(long, default_value = "", hide_default_value = true)]
    rows: String,
    /// Measurements of each kind.
    #[arg(long)]
    pairs: Option<usize>,
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nowhere left to say that this failed.
            let _ = writeln!(io::stderr(), "tavern-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut plan = if arguments.quick { Plan::quick() } else { Plan::full() };
    if arguments.long {
        plan = plan.long();
    }
    if !arguments.only.is_empty() {
        plan = plan.only(arguments.only.clone());
    }
    plan.rows.clone_from(&arguments.rows);
    if let Some(pairs) = arguments.pairs {
        plan.pairs = pairs.max(1);
    }
    let say = |text: &dyn std::fmt::Display| {
        // A reader that went away does not need the rest.
        let _ = writeln!(io::stdout(), "{text}");
    };
    // On a worker, as everything that is measured: a thread of its own would be one too many.
    let tasks = tavern_backend::Tasks::new();
    let (done, report) = oneshot::channel();
    Runtime::new()?.block_on(async move {
        tasks.spawn(async move { drop(done.send(run(plan, say).await)) });
        report.await?
    })?;
    Ok(())
}
