//! A whole run.

use std::fmt::Display;

use crate::machine::Machine;
use crate::plan::{Part, Plan};
use crate::report::Report;
use crate::{crowd, encode, fanout, latency, memory, publish, resume, vacuum};

/// What a run comes to; an error ends it.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Measures what `plan` says and hands each piece of the report to `say` as soon as it is there.
///
/// # Errors
///
/// Whatever keeps a part from being measured, a wrong result included.
pub async fn run(plan: Plan, mut say: impl FnMut(&dyn Display) + Send) -> Result<Report> {
    say(&Machine::look(&std::env::temp_dir()));
    let mut report = Report::default();
    for part in &plan.parts {
        let (section, targets) = match part {
            Part::Encode => (encode::measure(&plan)?, Vec::new()),
            Part::FanOut => fanout::measure(&plan).await?,
            Part::Publish => publish::measure(&plan).await?,
            Part::Latency => latency::measure(&plan).await?,
            Part::Resume => (resume::measure(&plan).await?, Vec::new()),
            Part::Memory => (memory::measure(&plan).await?, Vec::new()),
            Part::Crowd => (crowd::measure(&plan).await?, Vec::new()),
            Part::PostgresVacuum => (vacuum::measure(&plan).await?, Vec::new()),
        };
        say(&section);
        report.sections.push(section);
        report.targets.extend(targets);
    }
    for target in &report.targets {
        say(target);
    }
    Ok(report)
}
