//! What stands in the ring between messages and concerns more than one lane.

use std::time::Duration;

use tavern_backend::{Epoch, Lane};
use tokio::time::Instant;

use crate::delivery::GapReason;

/// Something that every subscriber, or everybody on some lanes, has to be told in its place.
#[derive(Debug)]
pub(crate) enum Marker {
    /// Entries are missing here, of these lanes; of unknown ones if `None`.
    Gap { reason: GapReason, lanes: Option<Vec<Lane>> },
    /// The same, for what history no longer had when a hole was read from it: all that is known to
    /// be removed of these lanes lies at or below `through`, which may be far above this place.
    Trimmed { lanes: Option<Vec<Lane>>, through: u64 },
    /// A message of this lane was promised and is given up. It has no place in the log.
    Discarded { lane: Lane },
    /// The log goes on in another epoch after `at`. `lost`: accepted entries of the old one are
    /// gone. `known`: the old epoch is an ancestor of the new one.
    Fork { epoch: Epoch, at: u64, lost: bool, known: bool },
    /// The backend went away.
    Degraded { since: Instant },
    /// The backend came back after this time.
    Recovered { after: Duration },
}

impl Marker {
    pub(crate) fn weight(&self) -> usize {
        let lanes = match self {
            Self::Gap { lanes: Some(lanes), .. } | Self::Trimmed { lanes: Some(lanes), .. } => {
                lanes.len() * 96
            }
            Self::Discarded { .. } => 96,
            Self::Gap { lanes: None, .. }
            | Self::Trimmed { lanes: None, .. }
            | Self::Fork { .. }
            | Self::Degraded { .. }
            | Self::Recovered { .. } => 0,
        };
        std::mem::size_of::<Self>() + 48 + lanes
    }
}
