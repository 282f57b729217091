//! Measures Tavern beside what it is to be compared with, in the same run.
//!
//! Machines differ, and one machine differs from minute to minute: a figure alone says little.
//! Wherever there is something to compare with, the two are measured in alternating pairs, and the
//! medians of both and of the pairs' ratios are told.
//!
//! ```text
//! scripts/bench            # everything, a few minutes
//! scripts/bench --quick    # a few seconds: does every part still run?
//! scripts/bench --only fan-out
//! scripts/bench crowd      # 15,000 real clients that come back at once, on each backend
//! scripts/bench --only postgres-vacuum   # a million messages and more, many minutes
//! ```
//!
//! Encoding alone also has a criterion bench: `cargo bench -p tavern-bench --bench encode`.

mod crowd;
mod encode;
mod fanout;
mod figure;
mod heap;
mod latency;
mod machine;
mod memory;
mod pairs;
mod plan;
mod publish;
mod report;
mod resume;
mod run;
mod tap;
mod vacuum;

pub use encode::{CASES, Case};
pub use figure::Figure;
pub use heap::CountingAllocator;
pub use plan::{Part, Plan};
pub use report::{Report, Section, Target};
pub use run::{Result, run};
