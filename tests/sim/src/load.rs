//! The load of the machine, which the tracker steers its interval by, and whether it steers well.

use etracker_core::interval::LoadAverage;

use crate::queue::{EPOCH, MINUTE, Millis, SECOND};
use crate::scenario::Scenario;
use crate::violation::{INTERVAL_STEADY, LOAD_NEAR_LIMIT, Violation, ensure};

/// Load averages made of the requests served, as a kernel makes them.
#[derive(Debug)]
pub(crate) struct Load {
    per_rate: f64,
    base: f64,
    served: f64,
    averages: LoadAverage,
    /// When the last third of the run begins, during which the controller is watched.
    watched_from: Millis,
    watched: Vec<(u32, f64)>,
    until: Millis,
    requests: u64,
}

impl Load {
    /// Time between two samples.
    pub(crate) const PERIOD: Millis = 5 * SECOND;

    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            per_rate: scenario.machine.load_per_rate,
            base: scenario.machine.load_base,
            served: 0.0,
            averages: [scenario.machine.load_base; 3],
            watched_from: EPOCH + (scenario.end - EPOCH) / 3 * 2,
            watched: Vec::new(),
            until: scenario.end,
            requests: 0,
        }
    }

    pub(crate) const fn averages(&self) -> LoadAverage {
        self.averages
    }

    /// So many requests were served.
    pub(crate) fn served(&mut self, requests: usize) {
        self.requests += requests as u64;
        self.served += f64::from(u32::try_from(requests).unwrap_or(u32::MAX));
    }

    /// Requests served so far.
    pub(crate) const fn requests(&self) -> u64 {
        self.requests
    }

    /// Moves the averages on by one period.
    pub(crate) fn sample(&mut self, now: Millis, interval_secs: u32) {
        let period = Self::PERIOD / SECOND;
        let running = self.base + self.per_rate * self.served / f64::from(crate::scenario::narrow(period));
        self.served = 0.0;
        // exp(-5/60), exp(-5/300), exp(-5/900)
        for (average, decay) in self.averages.iter_mut().zip([0.920_044, 0.983_471, 0.994_460]) {
            *average = *average * decay + running * (1.0 - decay);
        }
        let watched = (self.watched_from..self.until).contains(&now);
        if watched && (now - EPOCH) % (10 * MINUTE) < Self::PERIOD {
            self.watched.push((interval_secs, self.averages[2]));
        }
    }

    /// Whether the controller kept the load near its limit, as far as its bounds allow, without swinging.
    pub(crate) fn judge(&self, scenario: &Scenario) -> Result<(), Violation> {
        let (Some((first, _)), Some((last, _))) = (self.watched.first(), self.watched.last()) else {
            return Ok(());
        };
        if !scenario.is_steady() {
            return Ok(());
        }
        let count = f64::from(crate::scenario::narrow(self.watched.len() as u64));
        let mean = self.watched.iter().map(|(_, load)| load).sum::<f64>() / count;
        let bounds = scenario.config.intervals();
        let limit = scenario.config.load_limit();
        let moves = || {
            format!(
                "the interval went from {first} s to {last} s at a mean load of {mean:.2}, limit {limit:.2}"
            )
        };
        ensure(
            mean < limit * OVER || last > first || *last == bounds.max,
            LOAD_NEAR_LIMIT,
            moves,
        )?;
        ensure(
            mean > limit / OVER || last < first || *last == bounds.min,
            LOAD_NEAR_LIMIT,
            moves,
        )?;
        let swings = self.swings();
        ensure(swings <= SWINGS_MAX, INTERVAL_STEADY, || {
            format!("it swung {swings} times by more than {SWING_SECS} s; {}", moves())
        })
    }

    /// How often the interval turned round after having gone further than [`SWING_SECS`] one way.
    fn swings(&self) -> usize {
        let mut swings = 0;
        let (mut low, mut high) = (u32::MAX, 0);
        let mut rising = None;
        for (interval, _) in &self.watched {
            (low, high) = (low.min(*interval), high.max(*interval));
            let turned_down = high - *interval > SWING_SECS && rising != Some(false);
            let turned_up = *interval - low > SWING_SECS && rising != Some(true);
            if turned_down || turned_up {
                swings += usize::from(rising.is_some());
                rising = Some(turned_up);
                (low, high) = (*interval, *interval);
            }
        }
        swings
    }
}

/// A mean load further than by this factor from the limit is not near it.
const OVER: f64 = 1.5;
/// An interval that goes forth and back by more than this swings: five steps of the controller. Clients follow it one
/// interval late, so that it passes the ideal by about two steps of a minute each way, and ever again.
const SWING_SECS: u32 = 300;
/// Swings that the coming and going of clients can explain.
const SWINGS_MAX: usize = 1;
