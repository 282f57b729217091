//! A figure and how people read it.

use std::fmt;
use std::time::Duration;

/// A figure in a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// So many a second.
    Rate(f64),
    /// Ours to the other.
    Ratio(f64),
    /// So many.
    Count(f64),
    /// Bytes.
    Bytes(f64),
    /// A time.
    Time(Duration),
    /// There is none here.
    Nothing,
}

impl Figure {
    /// Its number, whatever its unit; `None` where there is none.
    #[must_use]
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Rate(n) | Self::Ratio(n) | Self::Count(n) | Self::Bytes(n) => Some(n),
            Self::Time(time) => Some(time.as_secs_f64()),
            Self::Nothing => None,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Rate(rate) => format!("{}/s", short(rate)),
            Self::Ratio(ratio) => format!("{ratio:.2}x"),
            Self::Count(count) => short(count),
            Self::Bytes(bytes) => format!("{} B", short(bytes)),
            Self::Time(time) => format!("{time:.2?}"),
            Self::Nothing => "-".to_owned(),
        };
        f.pad(&text)
    }
}

fn short(number: f64) -> String {
    match number {
        n if n >= 1e7 => format!("{:.1} M", n / 1e6),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.1} k", n / 1e3),
        n if n >= 100.0 || n.fract() == 0.0 => format!("{n:.0}"),
        n => format!("{n:.1}"),
    }
}

/// A count as a number to reckon with.
pub(crate) fn number(count: usize) -> f64 {
    // Exact for everything that is counted here.
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
