//! The announce interval, steered by the load average and by overload.

use core::time::Duration;

use crate::config::{INTERVAL_STEP_SECS, Intervals};
use crate::time::Instant;

/// Load averages over 1, 5 and 15 minutes, as the operating system gives them.
pub type LoadAverage = [f64; 3];

/// Makes the interval longer while the machine is busy or the workers are overloaded, and shorter while neither is so.
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
    /// How long workers had been overloaded at the last evaluation.
    overloaded: Duration,
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
            overloaded: Duration::ZERO,
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

    /// Moves and evaluates the interval as is due at `now`. `overloaded` is how long the workers have been overloaded since the
    /// start, on average. True if it was evaluated.
    pub fn handle_timeout(&mut self, now: Instant, load: LoadAverage, overloaded: Duration) -> bool {
        self.follow(now);
        if now < self.evaluate_at {
            return false;
        }
        self.evaluate(now, load, overloaded);
        true
    }

    fn evaluate(&mut self, now: Instant, load: LoadAverage, overloaded: Duration) {
        let since = Duration::from_secs(self.previous.into());
        let overloaded_since = overloaded.saturating_sub(self.overloaded);
        self.overloaded = overloaded;
        self.load = load;
        self.previous = self.served;
        self.moved_at = now;
        let is_busy = load.iter().all(|&average| average > self.load_limit);
        let is_idle = load.iter().all(|&average| average < self.load_limit);
        let step = if is_busy || overloaded_since >= since / OVERLOADED_PART {
            self.served.saturating_add(INTERVAL_STEP_SECS)
        } else if is_idle && overloaded_since.is_zero() {
            self.served.saturating_sub(INTERVAL_STEP_SECS)
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

/// Overload for this part of the time between two evaluations makes the interval longer. Less is a flood that the next
/// announces would come too late for; it keeps the interval from becoming shorter.
const OVERLOADED_PART: u32 = 20;

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
    const CALM: Duration = Duration::ZERO;

    fn controller() -> IntervalController {
        IntervalController::new(Instant::from_secs(0), BOUNDS, 1.5)
    }

    fn run(controller: &mut IntervalController, load: LoadAverage, secs: core::ops::Range<u64>) {
        for second in secs {
            controller.handle_timeout(Instant::from_secs(second), load, CALM);
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
    fn overload_lengthens_the_interval_of_a_machine_whose_load_average_is_low() {
        let evaluated_after = |overloaded_secs| {
            let mut controller = controller();
            controller.handle_timeout(Instant::from_secs(0), [1.5; 3], CALM);
            let overloaded = Duration::from_secs(overloaded_secs);
            assert!(controller.handle_timeout(Instant::from_secs(600), IDLE, overloaded));
            controller.moving_secs()
        };
        assert_eq!(
            [0, 1, 29, 30].map(evaluated_after).map(|(_, required)| required),
            [540, 600, 600, 660]
        );
    }

    #[test]
    fn overload_that_is_over_does_not_count_again() {
        let mut controller = controller();
        let overloaded = Duration::from_secs(30);
        for second in [0, 600, 1200] {
            controller.handle_timeout(Instant::from_secs(second), [1.5; 3], overloaded);
        }
        controller.handle_timeout(Instant::from_secs(1260), IDLE, overloaded);
        assert_eq!(controller.moving_secs(), (660, 600));
    }

    #[test]
    fn one_late_call_catches_up_and_early_calls_are_harmless() {
        let mut late = controller();
        late.handle_timeout(Instant::from_secs(0), IDLE, CALM);
        late.handle_timeout(Instant::from_secs(599), IDLE, CALM);
        assert_eq!(late.served_secs(), 541);

        let mut eager = controller();
        for millis in 0..599_000 / 50 {
            eager.handle_timeout(Instant::from_millis(millis * 50), IDLE, CALM);
        }
        assert_eq!(eager.served_secs(), 541);
    }

    #[test]
    fn the_timeout_is_when_the_next_second_moves() {
        let mut controller = controller();
        controller.handle_timeout(Instant::from_secs(0), BUSY, CALM);
        assert_eq!(controller.poll_timeout(), Instant::from_secs(10));
        run(&mut controller, BUSY, 1..600);
        assert_eq!(controller.poll_timeout(), Instant::from_secs(600));
    }
}
