//! Jittered, capped, exponential waiting.

use std::time::Duration;

/// The shortest and the longest wait.
const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// How long to wait before the next try.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next wait: twice the last one up to a second, less a random part of up to half.
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        full - full.mul_f64(random_fraction() / 2.0)
    }

    /// It worked: begin anew.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A random number in `0.0..1.0`, only to spread load. The thread's own generator, which a simulation
/// can seed.
pub(crate) fn random_fraction() -> f64 {
    fastrand::f64()
}
