//! What is counted, in one place.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::status::Counters;

macro_rules! tallies {
    ($($name:ident),* $(,)?) => {
        /// The live counters behind [`Counters`].
        #[derive(Debug, Default)]
        pub(crate) struct Tallies {
            $(pub(crate) $name: Tally,)*
        }

        impl Tallies {
            /// The counts now.
            pub(crate) fn counters(&self) -> Counters {
                Counters { $($name: self.$name.get(),)* ..Counters::default() }
            }
        }
    };
}

tallies! {
    published_stored, published_duplicate, published_live, live_unsent, published_rejected,
    spooled, spool_discarded, spool_entries, entries, duplicate_pushes, pending_overflow, repairs,
    holes_lost, page_reads, page_hits, head_reads,
    gaps, resumes, fell_off, undecodable, deaf, canaries,
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Tally(AtomicU64);

impl Tally {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
