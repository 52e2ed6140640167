//! Counts of limited requests, which one worker writes and any thread reads.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::charge::Class;
use super::heaviest::{HEAVY_MAX, Heavy};
use super::prefix::Width;
use super::verdict::Verdict;
use crate::Instant;
use crate::lock::Lock;
use crate::stats::Counter;

/// The counts of limited requests of one governor, and its heaviest sources. One worker writes them, any thread reads them.
#[derive(Debug)]
pub(crate) struct Board {
    /// By class, width and verdict.
    counts: Box<[[[Counter; Verdict::LIMITING.len()]; Width::ALL.len()]; Class::ALL.len()]>,
    /// The heaviest sources of the last second in which something was limited, and when that was.
    heaviest: Lock<(Instant, Vec<Heavy>)>,
}

impl Default for Board {
    fn default() -> Self {
        let counts = || core::array::from_fn(|_| Counter::default());
        Self {
            counts: Box::new(core::array::from_fn(|_| core::array::from_fn(|_| counts()))),
            // All that there can be: a request allocates nothing.
            heaviest: Lock::new((Instant::default(), Vec::with_capacity(HEAVY_MAX))),
        }
    }
}

impl Board {
    /// Counts `requests`. For the one worker that owns this board.
    pub(super) fn add(&self, class: Class, width: Width, verdict: Verdict, requests: u32) {
        if let Some(counter) = self.counter(class, width, verdict) {
            counter.add(requests.into());
        }
    }

    /// Publishes the heaviest sources of the second before `now`.
    pub(super) fn publish_heaviest(&self, now: Instant, heaviest: impl Iterator<Item = Heavy>) {
        self.heaviest.with(|(at, shown)| {
            *at = now;
            shown.clear();
            shown.extend(heaviest);
        });
    }

    /// The sums over all of `boards`, ordered by class, width and verdict; counts of zero are left out.
    pub(crate) fn sum<'a>(boards: impl Iterator<Item = &'a Self> + Clone) -> Vec<Limited> {
        let mut sums = Vec::new();
        for class in Class::ALL {
            for width in Width::ALL {
                for verdict in Verdict::LIMITING {
                    let counters = boards
                        .clone()
                        .filter_map(|board| board.counter(class, width, verdict));
                    let count = counters.fold(0, |sum: u64, counter| sum.wrapping_add(counter.get()));
                    if count > 0 {
                        sums.push(Limited {
                            class,
                            width,
                            verdict,
                            count,
                        });
                    }
                }
            }
        }
        sums
    }

    /// The heaviest sources that were published at `since` or later.
    pub(crate) fn heaviest(&self, since: Instant) -> Vec<Heavy> {
        self.heaviest
            .with(|(at, shown)| if *at >= since { shown.clone() } else { Vec::new() })
    }

    fn counter(&self, class: Class, width: Width, verdict: Verdict) -> Option<&Counter> {
        let at = Verdict::LIMITING
            .iter()
            .position(|limiting| *limiting == verdict)?;
        self.counts.get(class as usize)?.get(width as usize)?.get(at)
    }
}

/// How often requests of one class were limited in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limited {
    /// The class of the requests.
    pub class: Class,
    /// The prefix length of the narrowest network that was over its limit.
    pub width: Width,
    /// What was done about the requests.
    pub verdict: Verdict,
    /// How many requests. While no source uses more than half of its limit, one request in up to eight is sampled, and counts
    /// as so many.
    pub count: u64,
}
