//! What the way between a node and the engine does to what goes over it.

use std::time::Duration;

use fastrand::Rng;

/// The state of a way, until it changes.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    /// One way takes between these.
    pub(super) delay: (Duration, Duration),
    /// A push is lost, or comes twice, with these probabilities.
    pub(super) lose: f64,
    pub(super) repeat: f64,
    /// Pushes may overtake each other.
    pub(super) shuffle: bool,
    /// Pushes come this much later.
    pub(super) lag: Duration,
    /// The link looks whole and no push comes.
    pub(super) deaf: bool,
    /// A call fails before it reaches the engine, its answer is lost, or it hangs for long.
    pub(super) fail: f64,
    pub(super) mute: f64,
    pub(super) hang: f64,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    Refused,
    /// It is done, and nobody is told.
    Mute,
    /// On its way there, or on its way back, it takes much longer than it should.
    LateThere(Duration),
    LateBack(Duration),
}

impl Weather {
    /// Nothing is lost or late.
    pub(super) fn fair() -> Self {
        Self {
            delay: (Duration::from_millis(1), Duration::from_millis(3)),
            lose: 0.0,
            repeat: 0.0,
            shuffle: false,
            lag: Duration::ZERO,
            deaf: false,
            fail: 0.0,
            mute: 0.0,
            hang: 0.0,
        }
    }

    /// Any weather; most of it is fair in most respects.
    pub(super) fn any(rng: &mut Rng) -> Self {
        let mut often = |n: u32, most: f64| if rng.u32(..n) == 0 { rng.f64() * most } else { 0.0 };
        let (lose, repeat) = (often(3, 0.4), often(3, 0.3));
        let (fail, mute, hang) = (often(4, 0.4), often(4, 0.4), often(6, 0.2));
        let least = rng.u64(0..4);
        let most = least + if rng.u32(..4) == 0 { rng.u64(10..200) } else { rng.u64(1..10) };
        let lag = if rng.u32(..6) == 0 { rng.u64(50..4_000) } else { 0 };
        Self {
            delay: (Duration::from_millis(least), Duration::from_millis(most)),
            lose,
            repeat,
            shuffle: rng.bool(),
            lag: Duration::from_millis(lag),
            deaf: rng.u32(..12) == 0,
            fail,
            mute,
            hang,
        }
    }

    /// How long one way takes now.
    pub(super) fn way(&self, rng: &mut Rng) -> Duration {
        between(rng, self.delay)
    }

    pub(super) fn fate(&self, rng: &mut Rng) -> Fate {
        let at = rng.f64();
        if at < self.fail {
            return Fate::Refused;
        }
        if at < self.fail + self.mute {
            return Fate::Mute;
        }
        if at >= 1.0 - self.hang {
            let late = Duration::from_millis(rng.u64(300..8_000));
            return if rng.bool() { Fate::LateThere(late) } else { Fate::LateBack(late) };
        }
        Fate::Answered
    }
}

fn between(rng: &mut Rng, (least, most): (Duration, Duration)) -> Duration {
    let span = u64::try_from((most.saturating_sub(least)).as_micros()).unwrap_or(0);
    least + Duration::from_micros(rng.u64(0..=span))
}
