//! Periodic work: expiry, the announce interval, statistics, purges.

use alloc::sync::Arc;
use core::time::Duration;

use crate::access::{Access, Purge, Purged};
use crate::config::{Config, SWEEP_PERIOD_MILLIS, SWEEP_WORK};
use crate::host::Host;
use crate::interval::IntervalController;
use crate::stats::{Count, Evaluation, History, Level, Meter, Rates, Sweeps};
use crate::swarm::{SHARDS_MAX, Swarms, SweepPosition, Swept};
use crate::time::Instant;

/// The outcome of [`Tracker::handle_timeout`](crate::Tracker::handle_timeout).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeoutOutcome {
    /// Whether the interval was evaluated; [`Tracker::evaluation`](crate::Tracker::evaluation) has the figures.
    pub evaluated: bool,
    /// What the sweep removed.
    pub swept: Swept,
    /// What new lists removed, if a purge is under way.
    pub purged: Option<Purged>,
}

/// The state of all periodic work.
#[derive(Debug)]
pub(crate) struct Maintenance {
    interval: IntervalController,
    sweep: Sweep,
    purge: Option<Purge>,
    meter: Meter,
    history: History,
    sweeps: Sweeps,
    evaluation: Evaluation,
    /// Whether the last call swept: the driver's measurement of it counts as the sweep's time then.
    swept: bool,
    /// When the last call was.
    called: Instant,
    host: Host,
    /// Invariant: at least one.
    workers: u32,
}

impl Maintenance {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            interval: IntervalController::new(now, config.intervals(), config.load_limit()),
            sweep: Sweep::new(now),
            purge: None,
            meter: Meter::new(now),
            history: History::new(now),
            sweeps: Sweeps::default(),
            evaluation: Evaluation::default(),
            swept: false,
            called: now,
            host: Host::default(),
            workers: u32::try_from(config.swarms().workers())
                .unwrap_or(u32::MAX)
                .max(1),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        if self.purge.is_some() {
            return self.called;
        }
        let aged = self.interval.poll_timeout().min(self.sweep.due);
        aged.min(self.meter.due())
    }

    /// Does the work due at `now`; `count` returns the sum of a count over all workers.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        host: Host,
        swarms: &Swarms,
        count: impl Fn(Count) -> u64,
    ) -> TimeoutOutcome {
        if self.swept {
            self.sweeps.took(host.maintenance_time);
        }
        self.host = host;
        self.called = now;
        self.meter.measure(now, &count);
        let overloaded = Duration::from_millis(count(Count::OverloadedMillis)) / self.workers;
        let evaluated = self.interval.handle_timeout(now, host.load, overloaded);
        if evaluated {
            self.sweeps.evaluate();
            self.evaluation = self.evaluate(now, swarms);
        }
        if self.history.is_due(now) {
            self.history.record(now, self.level(swarms), count);
        }
        let swept = self.sweep(now, swarms);
        let purged = self.purge(now, swarms);
        TimeoutOutcome {
            evaluated,
            swept,
            purged,
        }
    }

    /// Begins to drop what `access` denies. A purge by earlier lists ends.
    pub(crate) fn begin_purge(&mut self, access: Arc<Access>) {
        self.purge = Purge::new(access);
    }

    pub(crate) const fn interval(&self) -> &IntervalController {
        &self.interval
    }

    pub(crate) const fn evaluation(&self) -> Evaluation {
        self.evaluation
    }

    pub(crate) const fn history(&self) -> &History {
        &self.history
    }

    pub(crate) const fn rates(&self) -> Rates {
        self.meter.rates()
    }

    pub(crate) const fn sweeps(&self) -> Sweeps {
        self.sweeps
    }

    pub(crate) const fn host(&self) -> Host {
        self.host
    }

    fn sweep(&mut self, now: Instant, swarms: &Swarms) -> Swept {
        self.swept = now >= self.sweep.due;
        if !self.swept {
            return Swept::default();
        }
        let swept = self.sweep.step(now, swarms);
        self.sweeps.step(swept);
        swept
    }

    fn purge(&mut self, now: Instant, swarms: &Swarms) -> Option<Purged> {
        let purged = self.purge.as_mut()?.step(now, SWEEP_WORK, swarms);
        if purged.done {
            self.purge = None;
        }
        Some(purged)
    }

    fn evaluate(&self, now: Instant, swarms: &Swarms) -> Evaluation {
        let removed = self.sweeps.period_before;
        let (previous_secs, required_secs) = self.interval.moving_secs();
        Evaluation {
            at: now,
            totals: swarms.totals(),
            swarm_max: self.sweeps.swarm_max(),
            fullest: swarms.fullest(),
            peers_removed: removed.peers,
            torrents_removed: removed.torrents,
            sweep_time: removed.time,
            load: self.interval.load(),
            load_limit: self.interval.load_limit(),
            served_secs: self.interval.served_secs(),
            previous_secs,
            required_secs,
            rates: self.meter.rates(),
        }
    }

    fn level(&self, swarms: &Swarms) -> Level {
        let [load, ..] = self.host.load;
        Level {
            totals: swarms.totals(),
            interval_secs: self.interval.served_secs(),
            load,
            memory_bytes: self.host.memory_bytes,
        }
    }
}

/// The sweep: one pass over all peers a minute, in steps spread over the first half of it.
#[derive(Debug)]
struct Sweep {
    position: SweepPosition,
    /// When the next step is due.
    due: Instant,
    /// When this pass began.
    began: Instant,
    /// Steps of this pass so far, and of the whole pass before.
    steps: u64,
    steps_before: u64,
}

impl Sweep {
    fn new(now: Instant) -> Self {
        Self {
            position: SweepPosition::default(),
            due: now,
            began: now,
            steps: 0,
            steps_before: SHARDS_MAX as u64,
        }
    }

    fn step(&mut self, now: Instant, swarms: &Swarms) -> Swept {
        let swept = swarms.sweep(now, SWEEP_WORK, &mut self.position);
        self.steps += 1;
        if swept.done {
            self.began = self
                .began
                .saturating_add(Duration::from_millis(SWEEP_PERIOD_MILLIS))
                .max(now);
            self.due = self.began;
            (self.steps_before, self.steps) = (self.steps, 0);
        } else {
            self.due = self.next_step(now);
        }
        swept
    }

    /// Steps are spread so that a pass of as many steps as the last takes half a period. A late pass does not wait between steps.
    fn next_step(&self, now: Instant) -> Instant {
        let half = SWEEP_PERIOD_MILLIS / 2;
        let planned = half * self.steps / self.steps_before.max(self.steps);
        self.began.saturating_add(Duration::from_millis(planned)).max(now)
    }
}
