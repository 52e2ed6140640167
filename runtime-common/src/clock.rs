//! The clock that the core is told the time by.

use std::time::SystemTime;

use etracker_core::Instant;

/// Wall time at the start plus the monotonic time since: it never goes back, whatever happens to the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The wall time at `started`.
    wall: Instant,
    started: std::time::Instant,
    #[cfg(feature = "testing")]
    stands: bool,
}

impl Clock {
    /// A clock that starts at the present wall time.
    #[must_use]
    pub fn start() -> Self {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            wall: Instant::default().saturating_add(wall),
            started: std::time::Instant::now(),
            #[cfg(feature = "testing")]
            stands: false,
        }
    }

    /// A clock that stands still.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn fixed(now: Instant) -> Self {
        Self {
            wall: now,
            started: std::time::Instant::now(),
            stands: true,
        }
    }

    /// The present time; the same on every copy of this clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        #[cfg(feature = "testing")]
        if self.stands {
            return self.wall;
        }
        self.wall.saturating_add(self.started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_the_wall_time_and_never_goes_back() {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let clock = Clock::start();
        let mut before = clock.now();
        assert!(before.as_secs().abs_diff(wall.as_secs()) <= 60);
        for _ in 0..1000 {
            let now = clock.now();
            assert!(before <= now);
            before = now;
        }
    }
}
