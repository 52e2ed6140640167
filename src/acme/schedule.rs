//! When a certificate is asked for.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use super::error::AcmeError;
use crate::renewals::Renewal;

impl Renewal {
    /// For a name that has a certificate of this validity, or none.
    pub(super) fn new(now: SystemTime, domain: String, valid: Option<&Range<SystemTime>>) -> Self {
        Self {
            domain,
            last: None,
            next: valid.map_or(now, renewal),
            error: None,
            failures: 0,
        }
    }

    /// A certificate of this validity is in use.
    pub(super) fn succeeded(&mut self, now: SystemTime, valid: &Range<SystemTime>) {
        self.last = Some(now);
        // However short its life is, a directory is not asked without a pause.
        self.next = renewal(valid).max(now + PAUSE_MIN);
        self.error = None;
        self.failures = 0;
    }

    /// There is no new certificate. Returns the pause until the next attempt.
    pub(super) fn failed(&mut self, now: SystemTime, error: &AcmeError) -> Duration {
        let first = if error.is_final() { PAUSE_FINAL } else { PAUSE_MIN };
        let doublings = self.failures.min(DOUBLINGS_MAX);
        let pause = first.saturating_mul(1 << doublings).min(PAUSE_MAX);
        self.last = Some(now);
        self.next = now + pause;
        self.error = Some(error.to_string());
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

/// When a certificate is renewed: at two thirds of its life.
fn renewal(valid: &Range<SystemTime>) -> SystemTime {
    let life = valid.end.duration_since(valid.start).unwrap_or_default();
    valid.start + life / 3 * 2
}

/// The first pause after an attempt that the directory has not decided: it was not to be reached, or busy.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The first pause after a refusal. Let's Encrypt takes no further orders for a name after five refusals in an hour.
const PAUSE_FINAL: Duration = Duration::from_secs(120);
/// The longest pause. The last third of a certificate's life is two days or more with the directories in use.
const PAUSE_MAX: Duration = Duration::from_secs(6 * 60 * 60);
/// From this many on every pause is the longest.
const DOUBLINGS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn without_certificate(now: SystemTime) -> Renewal {
        Renewal::new(now, "tracker.example".to_owned(), None)
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let from = SystemTime::UNIX_EPOCH + 1000 * DAY;
        let kept = Renewal::new(from, "tracker.example".to_owned(), Some(&(from..from + 90 * DAY)));
        assert_eq!(kept.next, from + 60 * DAY);
        let mut renewed = without_certificate(from);
        assert_eq!(renewed.next, from);
        renewed.succeeded(from + DAY, &(from..from + 6 * DAY));
        assert_eq!((renewed.last, renewed.next), (Some(from + DAY), from + 4 * DAY));
        renewed.succeeded(from + DAY, &(from..from));
        assert_eq!(renewed.next, from + DAY + PAUSE_MIN);
    }

    #[test]
    fn pauses_double_to_six_hours_and_start_longer_after_a_refusal() {
        let now = SystemTime::UNIX_EPOCH;
        let pauses = |error: &AcmeError| {
            let mut renewal = without_certificate(now);
            let pauses: Vec<_> = (0..100).map(|_| renewal.failed(now, error).as_secs()).collect();
            assert_eq!(renewal.error, Some(error.to_string()));
            assert_eq!(renewal.next, now + PAUSE_MAX);
            pauses
        };
        let (passing, refused) = (pauses(&AcmeError::Late), pauses(&AcmeError::NoChallenge));
        assert_eq!(passing[..4], [5, 10, 20, 40]);
        assert_eq!(refused[..4], [120, 240, 480, 960]);
        assert_eq!((passing[99], refused[99]), (21_600, 21_600));
        let sixth: u64 = refused[..5].iter().sum();
        assert!(sixth > 3600, "Let's Encrypt takes five in an hour");
    }

    #[test]
    fn a_success_forgets_failures() {
        let now = SystemTime::UNIX_EPOCH;
        let mut renewal = without_certificate(now);
        renewal.failed(now, &AcmeError::Late);
        renewal.failed(now, &AcmeError::Late);
        renewal.succeeded(now, &(now..now + 3 * DAY));
        assert_eq!((&renewal.error, renewal.next), (&None, now + 2 * DAY));
        assert_eq!(renewal.failed(now, &AcmeError::Late), PAUSE_MIN);
    }
}
