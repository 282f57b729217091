//! Backends that break one promise each: what the suite must notice.

mod backend;
mod lies;

use tavern_backend::{Backend, Bus};

use backend::Faulty;

/// One way to break a backend. The suite is worth what it notices of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Pages lack every second entry.
    DropsFromPages,
    /// Pages have no entries.
    EmptyPages,
    /// Pages have no floors and no horizon.
    ForgetsFloors,
    /// Pages tell a floor just below the oldest entry of each lane.
    FloorsBelowTheOldest,
    /// Pages have one entry each, whatever was asked.
    TinyPages,
    /// Pages hold entries of all topics, whatever was asked.
    IgnoresFilters,
    /// Pages hold more entries than asked.
    IgnoresLimits,
    /// Removed entries stay in pages.
    KeepsForever,
    /// A repeated key is stored again.
    ForgetsKeys,
    /// Ids are not stored.
    ForgetsIds,
    /// Ids are unique in the namespace rather than in the lane.
    SharesIds,
    /// A batch is appended last first.
    ReversesBatches,
    /// A batch is appended one by one.
    TearsBatches,
    /// Scopes are not stored.
    IgnoresScope,
    /// TTLs are not stored.
    IgnoresTtl,
    /// TTLs count from the append.
    RestartsTtl,
    /// Event names are not stored.
    IgnoresEventNames,
    /// Data is cut at the largest size.
    TruncatesData,
    /// Line endings and blanks at the end of data are tidied up.
    TidiesData,
    /// Topics are the same if they differ in case only.
    FoldsTopics,
    /// A live message comes back to its publisher.
    EchoesLive,
    /// A live message is pushed twice.
    RepeatsLive,
    /// Interest is confirmed before the engine knows of it.
    ConfirmsTooEarly,
    /// Asking for interest again ends it.
    LosesInterest,
    /// Every second entry is pushed as a skip.
    SkipsEntries,
    /// Neighbours in the log are pushed under each other's seq.
    SwapsNeighbours,
    /// The head is always the first one seen.
    StaleHead,
    /// The epoch never changes.
    ReusesEpoch,
    /// Each node counts in an epoch of its own.
    OwnEpoch,
    /// What a node knows of a lost tail is not recorded.
    ForgetsKnown,
    /// Every second publication is answered `Live` and goes nowhere.
    PretendsLive,
    /// Every second batch is answered `Stored` and goes nowhere.
    LosesStored,
    /// No id is ever found.
    NeverFinds,
    /// Closing closes nothing.
    SurvivesClose,
    /// Closing never ends.
    HangsOnClose,
    /// The feed can be taken twice.
    FeedsTwice,
    /// Dropping it needs a runtime.
    PanicsOnDrop,
}

impl Fault {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::DropsFromPages,
        Self::EmptyPages,
        Self::ForgetsFloors,
        Self::FloorsBelowTheOldest,
        Self::TinyPages,
        Self::IgnoresFilters,
        Self::IgnoresLimits,
        Self::KeepsForever,
        Self::ForgetsKeys,
        Self::ForgetsIds,
        Self::SharesIds,
        Self::ReversesBatches,
        Self::TearsBatches,
        Self::IgnoresScope,
        Self::IgnoresTtl,
        Self::RestartsTtl,
        Self::IgnoresEventNames,
        Self::TruncatesData,
        Self::TidiesData,
        Self::FoldsTopics,
        Self::EchoesLive,
        Self::RepeatsLive,
        Self::ConfirmsTooEarly,
        Self::LosesInterest,
        Self::SkipsEntries,
        Self::SwapsNeighbours,
        Self::StaleHead,
        Self::ReusesEpoch,
        Self::OwnEpoch,
        Self::ForgetsKnown,
        Self::PretendsLive,
        Self::LosesStored,
        Self::NeverFinds,
        Self::SurvivesClose,
        Self::HangsOnClose,
        Self::FeedsTwice,
        Self::PanicsOnDrop,
    ];

    /// A backend that works but for this.
    #[must_use]
    pub fn into_backend(self, bus: Bus) -> impl Backend {
        Faulty::new(bus, self)
    }
}
