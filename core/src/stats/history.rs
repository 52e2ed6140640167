//! The last hour and the last day, in fixed memory.

use alloc::collections::VecDeque;

use super::{Count, Rates};
use crate::swarm::Totals;
use crate::time::Instant;

/// Samples of the last hour, fine, and of the last day, coarse.
#[derive(Clone, Debug)]
pub struct History {
    /// The last hour: [`HOUR_STEP_SECS`] a sample.
    pub hour: Series,
    /// The last day: [`DAY_STEP_SECS`] a sample.
    pub day: Series,
}

impl History {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            hour: Series::new(now, HOUR_STEP_SECS, HOUR_SAMPLES),
            day: Series::new(now, DAY_STEP_SECS, DAY_SAMPLES),
        }
    }

    /// Whether a step of either series has ended.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.hour.steps_over(now) > 0 || self.day.steps_over(now) > 0
    }

    pub(crate) fn record(&mut self, now: Instant, level: Level, count: impl Fn(Count) -> u64) {
        self.hour.record(now, level, &count);
        self.day.record(now, level, &count);
    }
}

/// Samples at even steps. The oldest ones are dropped beyond a maximum.
#[derive(Clone, Debug)]
pub struct Series {
    step_secs: u64,
    samples_max: usize,
    /// Invariant: at most `samples_max`, and never reallocated. `None` is a step without a sample.
    samples: VecDeque<Option<Sample>>,
    /// The current step, counted from the Unix epoch.
    step: u64,
    before: [u64; COUNTED],
}

impl Series {
    fn new(now: Instant, step_secs: u64, samples_max: usize) -> Self {
        Self {
            step_secs,
            samples_max,
            samples: VecDeque::with_capacity(samples_max),
            step: now.as_secs() / step_secs,
            before: [0; COUNTED],
        }
    }

    /// Seconds from one sample to the next.
    #[must_use]
    pub const fn step_secs(&self) -> u64 {
        self.step_secs
    }

    /// Unix time of the end of the newest sample.
    #[must_use]
    pub const fn end_secs(&self) -> u64 {
        self.step * self.step_secs
    }

    /// The samples, oldest first; `None` where the tracker was not running or the machine asleep.
    pub fn samples(&self) -> impl Iterator<Item = Option<&Sample>> {
        self.samples.iter().map(Option::as_ref)
    }

    const fn steps_over(&self, now: Instant) -> u64 {
        (now.as_secs() / self.step_secs).saturating_sub(self.step)
    }

    fn record(&mut self, now: Instant, level: Level, count: impl Fn(Count) -> u64) {
        let over = self.steps_over(now);
        if over == 0 {
            return;
        }
        for _ in 1..over.min(self.samples_max as u64) {
            self.push(None);
        }
        let counts = sums(count);
        let secs = over * self.step_secs;
        let mut rates = [0; COUNTED];
        for ((rate, count), before) in rates.iter_mut().zip(counts).zip(self.before) {
            *rate = count.wrapping_sub(before).div_ceil(secs);
        }
        let [tcp_v4, udp_v4, tcp_v6, udp_v6, refused] = rates;
        self.push(Some(Sample {
            rates: Rates {
                tcp_v4,
                udp_v4,
                tcp_v6,
                udp_v6,
            },
            refused,
            level,
        }));
        self.before = counts;
        self.step += over;
    }

    fn push(&mut self, sample: Option<Sample>) {
        if self.samples.len() >= self.samples_max {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

/// One step of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// Requests per second, on average over the step.
    pub rates: Rates,
    /// Requests per second that were refused, left unanswered or not understood, on average over the step.
    pub refused: u64,
    /// The levels at the end of the step.
    pub level: Level,
}

/// Levels at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Level {
    /// Torrents and peers.
    pub totals: Totals,
    /// The announce interval served, in seconds.
    pub interval_secs: u32,
    /// The load average over one minute.
    pub load: f64,
    /// Memory that the process keeps in use, in bytes.
    pub memory_bytes: u64,
}

/// Seconds between samples of the last hour.
pub const HOUR_STEP_SECS: u64 = 10;
/// Samples of the last hour.
pub const HOUR_SAMPLES: usize = 360;
/// Seconds between samples of the last day.
pub const DAY_STEP_SECS: u64 = 120;
/// Samples of the last day.
pub const DAY_SAMPLES: usize = 720;

/// Four kinds of requests, and the refusals.
const COUNTED: usize = 5;

fn sums(count: impl Fn(Count) -> u64) -> [u64; COUNTED] {
    let refused = Count::ALL.iter().filter(|one| one.is_refusal());
    [
        count(Count::HttpRequest4),
        count(Count::UdpReceived4),
        count(Count::HttpRequest6),
        count(Count::UdpReceived6),
        refused.fold(0, |sum, one| sum.wrapping_add(count(*one))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn level(torrents: u64) -> Level {
        Level {
            totals: Totals {
                torrents,
                ..Totals::default()
            },
            ..Level::default()
        }
    }

    fn torrents(series: &Series) -> Vec<Option<u64>> {
        series
            .samples()
            .map(|sample| sample.map(|sample| sample.level.totals.torrents))
            .collect()
    }

    #[test]
    fn a_sample_is_taken_at_the_end_of_each_step() {
        let mut history = History::new(Instant::from_secs(1_203));
        assert!(!history.is_due(Instant::from_secs(1_209)));
        history.record(Instant::from_secs(1_209), level(1), |_| 0);
        assert_eq!(history.hour.samples().count(), 0);
        assert!(history.is_due(Instant::from_secs(1_210)));
        history.record(Instant::from_secs(1_210), level(2), |_| 40);
        history.record(Instant::from_secs(1_220), level(3), |_| 60);
        assert_eq!(torrents(&history.hour), [Some(2), Some(3)]);
        let rates: Vec<_> = history
            .hour
            .samples()
            .flatten()
            .map(|sample| sample.rates.udp_v4)
            .collect();
        assert_eq!((rates, history.hour.end_secs()), (Vec::from([4, 2]), 1_220));
        assert_eq!(history.day.samples().count(), 0);
    }

    #[test]
    fn time_that_nobody_watched_is_a_gap() {
        let mut history = History::new(Instant::from_secs(0));
        history.record(Instant::from_secs(10), level(1), |_| 0);
        history.record(Instant::from_secs(49), level(2), |_| 600);
        assert_eq!(torrents(&history.hour), [Some(1), None, None, Some(2)]);
        history.record(Instant::from_secs(1_000_000_000), level(3), |_| 600);
        assert_eq!(history.hour.samples().count(), HOUR_SAMPLES);
        assert_eq!(torrents(&history.hour).iter().flatten().count(), 1);
    }

    #[test]
    fn the_memory_is_fixed() {
        let mut history = History::new(Instant::from_secs(0));
        let (hour, day) = (history.hour.samples.capacity(), history.day.samples.capacity());
        for step in 0..40_000 {
            history.record(Instant::from_secs(step * 10), level(step), |_| 0);
        }
        assert_eq!(history.hour.samples().count(), HOUR_SAMPLES);
        assert_eq!(history.day.samples().count(), DAY_SAMPLES);
        assert_eq!(
            (hour, day),
            (history.hour.samples.capacity(), history.day.samples.capacity())
        );
    }

    #[test]
    fn refusals_of_every_kind_are_one_line() {
        let mut history = History::new(Instant::from_secs(0));
        let counted = |count| u64::from(matches!(count, Count::UdpUnproven | Count::RefusedSwarmFull)) * 100;
        history.record(Instant::from_secs(10), level(0), counted);
        let refused: Vec<_> = history
            .hour
            .samples()
            .flatten()
            .map(|sample| sample.refused)
            .collect();
        assert_eq!(refused, [20]);
    }
}
