//! Conversions that cannot go wrong on the machines there are.

use std::time::Duration;

/// Beyond any seq: the scripts count in doubles.
pub(crate) const FAR: u64 = 1 << 53;

pub(crate) fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
