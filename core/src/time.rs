//! The time of the core, which drivers pass in.

use core::time::Duration;

/// A point in time, in milliseconds since the Unix epoch. Drivers hand in values that never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The instant `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The instant `secs` seconds after the Unix epoch.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The minute that this instant lies in.
    #[must_use]
    pub const fn minute(self) -> Minute {
        let minutes = self.0 / MILLIS_PER_MINUTE;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the larger ones are taken out before"
        )]
        Minute(if minutes > u32::MAX as u64 {
            u32::MAX
        } else {
            minutes as u32
        })
    }

    /// The time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This instant plus `duration`; the largest instant on overflow.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        let millis = duration
            .as_secs()
            .saturating_mul(1000)
            .saturating_add(duration.subsec_millis() as u64);
        Self(self.0.saturating_add(millis))
    }
}

/// The coarse clock of swarms: whole minutes since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(u32);

impl Minute {
    /// The minute with this number since the Unix epoch.
    #[must_use]
    pub const fn new(minutes: u32) -> Self {
        Self(minutes)
    }

    /// Minutes since the Unix epoch.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whole minutes from `earlier` to this one; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds in a [`Minute`].
const MILLIS_PER_MINUTE: u64 = 60_000;
