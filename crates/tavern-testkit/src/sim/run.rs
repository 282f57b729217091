//! One run, from its seed to its verdict.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tavern_backend::Bus;

use super::oracle::{self, Case, Verdict};
use super::trace::Trace;
use super::world::World;

/// A run to be made: its seed decides all of it.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    seed: u64,
    traced: bool,
    short: bool,
    layer: Layer,
}

/// What lies between a node and the simulated engine.
pub(super) type Layer = fn(Bus) -> Bus;

/// What came of a run.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Whether it was a [short](Run::short) run.
    pub short: bool,
    /// What was wrong; nothing, if all promises were kept.
    pub wrong: Vec<String>,
    /// Virtual time.
    pub lasted: Duration,
    /// A number that stands for everything that happened: the same seed, the same number.
    pub hash: u64,
    /// Things that happened, as the trace counts them.
    pub events: u64,
    /// Cuts, crashes, moves and the like.
    pub troubles: u64,
    /// Publications.
    pub published: u64,
    /// Messages that clients got, live ones included.
    pub delivered: u64,
    /// Streams that were resumed.
    pub resumes: u64,
    /// Gap events that clients were told, by reason.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Those of them that covered nothing that was missing.
    pub over_reports: BTreeMap<&'static str, u64>,
    /// Entries that clients were told to have missed.
    pub told_missing: u64,
    /// Entries that the log lost, with everybody who knew of them.
    pub lost_untold: u64,
    /// What happened, line by line, if the run was [traced](Run::traced).
    pub trace: String,
}

impl Run {
    /// The run of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, traced: false, short: false, layer: |bus| bus }
    }

    /// The same, whose trace is kept.
    #[must_use]
    pub const fn traced(mut self) -> Self {
        self.traced = true;
        self
    }

    /// A run of a fifth of the length, for tests that are not optimised.
    #[must_use]
    pub const fn short(mut self) -> Self {
        self.short = true;
        self
    }

    /// The same with a layer between each node and the engine: what another backend would do, or
    /// would do wrong.
    #[must_use]
    pub const fn through(mut self, layer: fn(Bus) -> Bus) -> Self {
        self.layer = layer;
        self
    }

    /// Runs it to its end, on this thread.
    ///
    /// # Panics
    ///
    /// If no runtime can be made, or within one.
    #[must_use]
    pub fn play(self) -> Report {
        // What spreads load in the broker is drawn from the thread's generator.
        fastrand::seed(self.seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime with nothing but a clock can be made");
        runtime.block_on(self.playing())
    }

    async fn playing(self) -> Report {
        let trace = Trace::begin(self.traced);
        let mut world = World::new(self.seed, self.layer, trace.clone());
        if self.short {
            world.plan.lasts /= 5;
        }
        world.play().await;
        let lasted = trace.now();
        let mut verdict = Verdict { wrong: world.wrong.clone(), ..Verdict::default() };
        let (archive, told) = world.engine.end();
        let views = archive.views();
        let case = Case {
            archive: &archive,
            views: &views,
            told: &told,
            publications: &world.publications,
            trace: &trace,
            // Half of the slowest answer that a node believes, and what the clock jumps by.
            tolerance: Duration::from_millis(if world.plan.jumps { 7_000 } else { 2_600 }),
            spool_age: world.plan.config.spool_age,
        };
        for client in &world.clients {
            oracle::judge(&case, client, &mut verdict);
        }
        oracle::judge_publishing(&case, &mut verdict);
        let published = u64::try_from(world.publications.len()).unwrap_or(u64::MAX);
        let (hash, events, text) = trace.end();
        Report {
            seed: self.seed,
            short: self.short,
            wrong: verdict.wrong,
            lasted,
            hash,
            events,
            troubles: world.troubles,
            published,
            delivered: verdict.messages + verdict.live,
            resumes: verdict.resumes,
            gaps: verdict.gaps,
            over_reports: verdict.over,
            told_missing: verdict.told_missing,
            lost_untold: verdict.lost_untold,
            trace: text,
        }
    }
}

/// What was wrong, and how to see it again.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for wrong in &self.wrong {
            writeln!(f, "{wrong}")?;
        }
        let (short, wrong) = (if self.short { " --short" } else { "" }, self.wrong.len());
        write!(f, "seed {}: {wrong} wrong; `scripts/simulate --seed {0}{short}`", self.seed)?;
        write!(f, " shows all that happened ({:016x})", self.hash)
    }
}
