//! The work and the cost of the sweep.

use core::time::Duration;

use crate::swarm::Swept;

/// Totals of the sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweeps {
    /// Since the start.
    pub total: Removed,
    /// Since the last evaluation of the interval.
    pub period: Removed,
    /// Between the last two evaluations.
    pub period_before: Removed,
    /// Passes over all peers since the start.
    pub passes: u64,
    /// The last whole pass.
    pub pass_before: Pass,
    /// The longest step since the start.
    pub step_max: Duration,
    /// The running pass.
    pass: Pass,
}

impl Sweeps {
    /// Adds a step.
    pub(crate) const fn step(&mut self, swept: Swept) {
        self.total.add(swept);
        self.period.add(swept);
        self.pass.removed.add(swept);
        self.pass.steps += 1;
        if swept.swarm_max > self.pass.swarm_max {
            self.pass.swarm_max = swept.swarm_max;
        }
        if swept.done {
            self.passes += 1;
            self.pass_before = self.pass;
            self.pass = Pass::ZERO;
        }
    }

    /// Adds the time of the last step.
    pub(crate) fn took(&mut self, time: Duration) {
        self.step_max = self.step_max.max(time);
        let pass = if self.pass.steps == 0 {
            &mut self.pass_before
        } else {
            &mut self.pass
        };
        for removed in [&mut self.total, &mut self.period, &mut pass.removed] {
            removed.time = removed.time.saturating_add(time);
        }
    }

    /// Ends a period: the interval was evaluated.
    pub(crate) const fn evaluate(&mut self) {
        self.period_before = self.period;
        self.period = Removed::ZERO;
    }

    /// Peers of the largest swarm, as far as the running pass and the one before have seen.
    #[must_use]
    pub fn swarm_max(&self) -> u32 {
        self.pass.swarm_max.max(self.pass_before.swarm_max)
    }
}

/// What steps of the sweep removed, and how long they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// Expired peers.
    pub peers: u64,
    /// Torrents without peers.
    pub torrents: u64,
    /// Time spent, as far as the driver measured it.
    pub time: Duration,
}

impl Removed {
    const ZERO: Self = Self {
        peers: 0,
        torrents: 0,
        time: Duration::ZERO,
    };

    const fn add(&mut self, swept: Swept) {
        self.peers += swept.peers_removed;
        self.torrents += swept.torrents_removed;
    }
}

/// One pass over all peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pass {
    /// Its removals and its time.
    pub removed: Removed,
    /// Steps that it took.
    pub steps: u64,
    /// Peers of the largest swarm that it saw.
    pub swarm_max: u32,
}

impl Pass {
    const ZERO: Self = Self {
        removed: Removed::ZERO,
        steps: 0,
        swarm_max: 0,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Swept = Swept {
        peers_removed: 3,
        torrents_removed: 1,
        swarm_max: 7,
        done: false,
    };
    const LAST: Swept = Swept { done: true, ..STEP };

    #[test]
    fn the_time_of_the_last_step_of_a_pass_is_that_pass_es() {
        let mut sweeps = Sweeps::default();
        for swept in [STEP, LAST, STEP] {
            sweeps.step(swept);
            sweeps.took(Duration::from_micros(10));
        }
        assert_eq!((sweeps.passes, sweeps.pass_before.steps), (1, 2));
        assert_eq!(sweeps.pass_before.removed.time, Duration::from_micros(20));
        assert_eq!(
            (sweeps.total.peers, sweeps.total.time),
            (9, Duration::from_micros(30))
        );
    }

    #[test]
    fn an_evaluation_begins_a_new_period() {
        let mut sweeps = Sweeps::default();
        sweeps.step(STEP);
        sweeps.evaluate();
        sweeps.step(LAST);
        sweeps.step(STEP);
        assert_eq!((sweeps.period_before.peers, sweeps.period.peers), (3, 6));
        sweeps.evaluate();
        assert_eq!((sweeps.period_before.peers, sweeps.period.peers), (6, 0));
    }

    #[test]
    fn the_largest_swarm_is_forgotten_after_a_pass_that_did_not_see_it() {
        let mut sweeps = Sweeps::default();
        sweeps.step(LAST);
        sweeps.step(Swept { swarm_max: 2, ..LAST });
        assert_eq!(sweeps.swarm_max(), 2);
        sweeps.step(STEP);
        assert_eq!(sweeps.swarm_max(), 7);
    }
}
