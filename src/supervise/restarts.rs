//! The budget of restarts.

use std::collections::VecDeque;
use std::time::Duration;

/// The restarts that are left. Each is given back after some time of service.
#[derive(Debug)]
pub(super) struct Restarts {
    max: usize,
    /// Service after which a restart is forgotten.
    forgotten_after: Duration,
    /// Total service of all processes so far.
    served: Duration,
    /// Total service at each restart that is not forgotten. Invariant: ascending, at most `max`.
    remembered: VecDeque<Duration>,
}

impl Restarts {
    /// A budget of `max` restarts.
    pub(super) fn new(max: u32, forgotten_after: Duration) -> Self {
        Self {
            max: usize::try_from(max).unwrap_or(usize::MAX),
            forgotten_after,
            served: Duration::ZERO,
            remembered: VecDeque::new(),
        }
    }

    /// Takes a restart after a failure that ended this service. Returns the restarts left; `None` if there was none.
    pub(super) fn take(&mut self, service: Duration) -> Option<usize> {
        self.served = self.served.saturating_add(service);
        let forgotten = |at: &Duration| self.served.saturating_sub(*at) >= self.forgotten_after;
        while self.remembered.front().is_some_and(forgotten) {
            self.remembered.pop_front();
        }
        let left = self.max.checked_sub(self.remembered.len() + 1)?;
        self.remembered.push_back(self.served);
        Some(left)
    }
}

/// Service after which a restart is forgotten.
pub(super) const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn failures_in_quick_succession_use_up_all_restarts() {
        let mut restarts = Restarts::new(2, FORGOTTEN_AFTER);
        assert_eq!(restarts.take(MINUTE), Some(1));
        assert_eq!(restarts.take(MINUTE), Some(0));
        assert_eq!(restarts.take(MINUTE), None);
        assert_eq!(Restarts::new(0, FORGOTTEN_AFTER).take(MINUTE * 600), None);
    }

    #[test]
    fn each_restart_is_forgotten_after_an_hour_of_service() {
        let mut restarts = Restarts::new(2, FORGOTTEN_AFTER);
        assert_eq!(restarts.take(MINUTE), Some(1));
        assert_eq!(restarts.take(30 * MINUTE), Some(0));
        // The first one is an hour of service ago, the second half of that.
        assert_eq!(restarts.take(30 * MINUTE), Some(0));
        assert_eq!(restarts.take(29 * MINUTE), None);
        assert_eq!(restarts.take(MINUTE), Some(0));
        for _ in 0..1000 {
            assert_eq!(restarts.take(60 * MINUTE), Some(1));
        }
    }
}
