//! All figures of a tracker at one moment.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Count, Operation, Rates, Sweeps, Turns};
use crate::governor::{Limited, MemoryFigures};
use crate::host::Host;
use crate::interval::IntervalController;
use crate::overload;
use crate::swarm::{Fullest, Totals};

/// The figures of all pages, taken together so that they agree.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Figures {
    /// The sums over all workers. Invariant: in the order of [`Count::ALL`].
    pub(crate) counts: [u64; Count::ALL.len()],
    /// Failed calls by error number, in ascending order, without zeros.
    pub failures: Vec<Failed>,
    /// Requests of sources over their limits; what never happened is left out.
    pub limited: Vec<Limited>,
    /// Torrents and peers.
    pub totals: Totals,
    /// The distribution over shards and tables.
    pub fullest: Fullest,
    /// Memory of swarms.
    pub memory: MemoryFigures,
    /// Requests of the last full second.
    pub rates: Rates,
    /// What the sweep did.
    pub sweeps: Sweeps,
    /// The interval.
    pub interval: IntervalController,
    /// The host's figures as the driver handed them in last.
    pub host: Host,
    /// What the worker that is overloaded most gives up.
    pub overload: overload::Level,
    /// How long the datagram at the end of a receive queue waits: the longest of all workers.
    pub queue_delay: Duration,
    /// How long workers took to come back to what was due.
    pub turns: Turns,
    /// The number of workers.
    pub workers: usize,
}

impl Figures {
    /// The sum of one count over all workers.
    #[must_use]
    pub fn count(&self, count: Count) -> u64 {
        self.counts.get(count as usize).copied().unwrap_or(0)
    }

    /// The sum of several counts.
    #[must_use]
    pub fn sum(&self, counts: &[Count]) -> u64 {
        counts
            .iter()
            .fold(0, |sum, &count| sum.wrapping_add(self.count(count)))
    }
}

/// How often a call failed with one error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failed {
    /// The call.
    pub operation: Operation,
    /// The system's number of the error; 0 if it gave none.
    pub error: i32,
    /// How often.
    pub count: u64,
}
