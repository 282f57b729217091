//! SQLite's integers are signed; ours mostly are not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A count or a seq as SQLite stores it.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count or a seq as SQLite stored it; what is damaged becomes 0.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The wall clock, in milliseconds since the Unix epoch.
pub(crate) fn wall_clock() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>): stable across releases and machines,
/// which the hashes of the standard library are not.
pub(crate) fn fnv(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for part in parts {
        part.iter().for_each(|byte| eat(*byte));
        // The length in between keeps `ab`, `c` and `a`, `bc` apart.
        count(part.len()).to_le_bytes().into_iter().for_each(&mut eat);
    }
    hash
}
