//! Conversions that cannot go wrong on the machines there are.

use std::time::Duration;

/// Milliseconds, as the log's clock counts them.
pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A seq or a count as the database has it.
pub(crate) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// The bits of an id, which may be any.
pub(crate) const fn bits(n: u64) -> i64 {
    n.cast_signed()
}
