//! The announce interval, steered by the load average.

use core::time::Duration;

use crate::config::{INTERVAL_STEP_SECS, Intervals};
use crate::time::Instant;

/// Load averages over 1, 5 and 15 minutes, as the operating system gives them.
pub type LoadAverage = [f64; 3];

/// Makes the interval longer while the machine is busy and shorter while it is not.
///
/// Each evaluation, one interval after the one before, moves the *required* interval by a step; the *served* one then
/// follows a second at a time, evenly, so that it arrives about one old interval later. A jump would make all clients
/// that announced during the last interval come back at once.
#[derive(Clone, Debug)]
pub struct IntervalController {
    /// Invariant: `bounds.min <= served <= bounds.max`, and the same for `required` and `previous`.
    bounds: Intervals,
    load_limit: f64,
    served: u32,
    previous: u32,
    required: u32,
    evaluate_at: Instant,
    moved_at: Instant,
    load: LoadAverage,
}

impl IntervalController {
    /// A controller that serves `bounds.initial` and evaluates for the first time at `now`.
    #[must_use]
    pub const fn new(now: Instant, bounds: Intervals, load_limit: f64) -> Self {
        Self {
            bounds,
            load_limit,
            served: bounds.initial,
            previous: bounds.initial,
            required: bounds.initial,
            evaluate_at: now,
            moved_at: now,
            load: [0.0; 3],
        }
    }

    /// The bounds that the interval keeps.
    #[must_use]
    pub const fn bounds(&self) -> Intervals {
        self.bounds
    }

    /// The interval that is served now, in seconds.
    #[must_use]
    pub const fn served_secs(&self) -> u32 {
        self.served
    }

    /// The interval before the last evaluation and the one that is required since, in seconds.
    #[must_use]
    pub const fn moving_secs(&self) -> (u32, u32) {
        (self.previous, self.required)
    }

    /// The load averages of the last evaluation.
    #[must_use]
    pub const fn load(&self) -> LoadAverage {
        self.load
    }

    /// The load average above which the interval grows.
    #[must_use]
    pub const fn load_limit(&self) -> f64 {
        self.load_limit
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next. Calling it earlier or more often is harmless.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        if self.served == self.required {
            return self.evaluate_at;
        }
        self.moved_at.saturating_add(self.pace()).min(self.evaluate_at)
    }

    /// Moves and evaluates the interval as is due at `now`. True if it was evaluated.
    pub fn handle_timeout(&mut self, now: Instant, load: LoadAverage) -> bool {
        self.follow(now);
        if now < self.evaluate_at {
            return false;
        }
        self.evaluate(now, load);
        true
    }

    fn evaluate(&mut self, now: Instant, load: LoadAverage) {
        self.load = load;
        self.previous = self.served;
        self.moved_at = now;
        let step = if load.iter().all(|&average| average < self.load_limit) {
            self.served.saturating_sub(INTERVAL_STEP_SECS)
        } else if load.iter().all(|&average| average > self.load_limit) {
            self.served.saturating_add(INTERVAL_STEP_SECS)
        } else {
            self.served
        };
        self.required = step.clamp(self.bounds.min, self.bounds.max);
        self.evaluate_at = now.saturating_add(Duration::from_secs(self.previous.into()));
    }

    /// Moves the served interval by the seconds that are due.
    fn follow(&mut self, now: Instant) {
        let pace = self.pace();
        let mut due = now.saturating_since(self.moved_at).as_millis() / pace.as_millis();
        while due > 0 && self.served != self.required {
            self.served = if self.served < self.required {
                self.served + 1
            } else {
                self.served - 1
            };
            self.moved_at = self.moved_at.saturating_add(pace);
            due -= 1;
        }
    }

    /// Time between two moves of one second: the old interval divided by the seconds between old and required interval.
    fn pace(&self) -> Duration {
        let distance = self.previous.abs_diff(self.required).max(1);
        Duration::from_millis(u64::from(self.previous) * 1000 / u64::from(distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Intervals = Intervals {
        initial: 600,
        min: 300,
        max: 900,
    };
    const IDLE: LoadAverage = [0.1; 3];
    const BUSY: LoadAverage = [3.0; 3];

    fn controller() -> IntervalController {
        IntervalController::new(Instant::from_secs(0), BOUNDS, 1.5)
    }

    fn run(controller: &mut IntervalController, load: LoadAverage, secs: core::ops::Range<u64>) {
        for second in secs {
            controller.handle_timeout(Instant::from_secs(second), load);
        }
    }

    #[test]
    fn an_idle_machine_shortens_by_one_step_within_one_old_interval() {
        let mut controller = controller();
        run(&mut controller, IDLE, 0..1);
        assert_eq!(controller.moving_secs(), (600, 540));
        assert_eq!(controller.served_secs(), 600);
        run(&mut controller, IDLE, 1..301);
        assert_eq!(controller.served_secs(), 570);
        run(&mut controller, IDLE, 301..600);
        assert_eq!(controller.served_secs(), 541);
        run(&mut controller, IDLE, 600..601);
        assert_eq!(
            (controller.served_secs(), controller.moving_secs()),
            (540, (540, 480))
        );
    }

    #[test]
    fn a_busy_machine_lengthens_up_to_the_maximum_and_stays_there() {
        let mut controller = controller();
        run(&mut controller, BUSY, 0..20_000);
        assert_eq!(controller.served_secs(), 900);
        run(&mut controller, IDLE, 20_000..80_000);
        assert_eq!(controller.served_secs(), 300);
    }

    #[test]
    fn averages_on_both_sides_of_the_limit_change_nothing() {
        let mut controller = controller();
        run(&mut controller, [0.1, 3.0, 0.1], 0..5_000);
        assert_eq!(
            (controller.served_secs(), controller.moving_secs()),
            (600, (600, 600))
        );
        run(&mut controller, [1.5; 3], 5_000..10_000);
        assert_eq!(controller.served_secs(), 600);
    }

    #[test]
    fn one_late_call_catches_up_and_early_calls_are_harmless() {
        let mut late = controller();
        late.handle_timeout(Instant::from_secs(0), IDLE);
        late.handle_timeout(Instant::from_secs(599), IDLE);
        assert_eq!(late.served_secs(), 541);

        let mut eager = controller();
        for millis in 0..599_000 / 50 {
            eager.handle_timeout(Instant::from_millis(millis * 50), IDLE);
        }
        assert_eq!(eager.served_secs(), 541);
    }

    #[test]
    fn the_timeout_is_when_the_next_second_moves() {
        let mut controller = controller();
        controller.handle_timeout(Instant::from_secs(0), BUSY);
        assert_eq!(controller.poll_timeout(), Instant::from_secs(10));
        run(&mut controller, BUSY, 1..600);
        assert_eq!(controller.poll_timeout(), Instant::from_secs(600));
    }
}
