//! Plays seeds of the simulation on all cores; see `scripts/simulate`.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use tavern_testkit::sim::{Report, Run};

/// What to play.
#[derive(Debug, Clone, Copy)]
struct Wish {
    from: u64,
    seeds: u64,
    /// Ends with the first that fails.
    first: bool,
    /// Plays short runs.
    short: bool,
}

impl Wish {
    fn run(self, seed: u64) -> Run {
        let run = Run::new(seed);
        if self.short { run.short() } else { run }
    }
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(wish) if wish.seeds == 1 => show(wish),
        Ok(wish) => play(wish),
        Err(wrong) => {
            println!("{wrong}\nsimulate [--seeds N] [--from S] [--short] [--first] | --seed S");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish { from: 0, seeds: 10_000, first: false, short: false };
    while let Some(arg) = args.next() {
        let mut number = || {
            let text = args.next().ok_or_else(|| format!("{arg} wants a number"))?;
            text.parse::<u64>().map_err(|_| format!("{text} is not a number"))
        };
        match arg.as_str() {
            "--seeds" => wish.seeds = number()?,
            "--from" => wish.from = number()?,
            "--seed" => (wish.from, wish.seeds) = (number()?, 1),
            "--short" => wish.short = true,
            "--first" => wish.first = true,
            _ => return Err(format!("{arg} is not known")),
        }
    }
    Ok(wish)
}

/// Shows all that happens in one seed.
fn show(wish: Wish) -> ExitCode {
    let report = wish.run(wish.from).traced().play();
    println!("{}", report.trace);
    println!("{report}");
    exit(report.wrong.is_empty())
}

fn play(wish: Wish) -> ExitCode {
    let began = SystemTime::now();
    let (next, over) = (AtomicU64::new(wish.from), AtomicBool::new(false));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (sender, reports) = mpsc::channel();
    let mut sum = Sum::default();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            let (sender, next, over) = (sender.clone(), &next, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= wish.from.saturating_add(wish.seeds) {
                        return;
                    }
                    // Whoever takes them is there until all are done.
                    drop(sender.send(wish.run(seed).play()));
                }
            });
        }
        drop(sender);
        for report in reports {
            if !report.wrong.is_empty() {
                println!("{report}");
                over.store(wish.first, Ordering::Relaxed);
            }
            sum.add(&report);
        }
    });
    sum.print(began.elapsed().unwrap_or_default());
    exit(sum.failed == 0)
}

fn exit(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The figures of all seeds.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    failed: u64,
    lasted: Duration,
    events: u64,
    troubles: u64,
    published: u64,
    delivered: u64,
    resumes: u64,
    gaps: BTreeMap<&'static str, u64>,
    over: BTreeMap<&'static str, u64>,
    missing: u64,
    lost_untold: u64,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.failed += u64::from(!report.wrong.is_empty());
        self.lasted += report.lasted;
        self.events += report.events;
        self.troubles += report.troubles;
        self.published += report.published;
        self.delivered += report.delivered;
        self.resumes += report.resumes;
        self.missing += report.told_missing;
        self.lost_untold += report.lost_untold;
        for (all, these) in [(&mut self.gaps, &report.gaps), (&mut self.over, &report.over_reports)]
        {
            for (reason, n) in these {
                *all.entry(reason).or_default() += n;
            }
        }
    }

    fn print(&self, took: Duration) {
        let hours = self.lasted.as_secs_f64() / 3600.0;
        println!("seeds                    {:>12}", self.seeds);
        println!("  failed                 {:>12}", self.failed);
        println!("simulated                {hours:>12.1} h");
        println!("took                     {:>12.1} s", took.as_secs_f64());
        println!("troubles                 {:>12}", self.troubles);
        println!("events                   {:>12}", self.events);
        println!("published                {:>12}", self.published);
        println!("delivered                {:>12}", self.delivered);
        println!("resumed                  {:>12}", self.resumes);
        println!("missing, and told        {:>12}", self.missing);
        println!("lost with all who knew   {:>12}", self.lost_untold);
        for (reason, n) in &self.gaps {
            let over = self.over.get(reason).copied().unwrap_or_default();
            println!("gaps {reason:<19} {n:>12}, of which nothing was missing: {over}");
        }
    }
}
