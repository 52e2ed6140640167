//! Counters that one worker writes and any thread reads.

use core::time::Duration;

use super::counters::{Count, Counter};
use super::failures::{Failures, Operation};
use super::turns::Counted;
use crate::hidden_clients::Votes;
use crate::overload;

/// The counters of one worker, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    counts: [Counter; Count::ALL.len()],
    failures: Failures,
    /// The level of overload, by its place.
    overload: Counter,
    /// Milliseconds that the datagram at the end of the receive queue waits.
    queue_millis: Counter,
    pub(crate) turns: Counted,
    /// The sources of announces.
    pub(crate) votes: Votes,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            counts: core::array::from_fn(|_| Counter::default()),
            failures: Failures::default(),
            overload: Counter::default(),
            queue_millis: Counter::default(),
            turns: Counted::default(),
            votes: Votes::default(),
        }
    }
}

impl Counters {
    /// Adds `more` to one count. Only the worker that owns these counters may call it: concurrent calls lose updates.
    pub fn add(&self, count: Count, more: u64) {
        if let Some(counter) = self.counts.get(count as usize) {
            counter.add(more);
        }
    }

    /// The value of one count.
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.counts.get(count as usize).map_or(0, Counter::get)
    }

    /// Counts one failure of `operation` and the system's number of the error. For the owner alone, as [`add`](Self::add).
    pub fn fail(&self, operation: Operation, error: i32) {
        self.add(operation.count(), 1);
        self.failures.add(operation, error);
    }

    /// Adds the time that the worker took to come back to what was due. For the owner alone, as [`add`](Self::add).
    pub fn turn(&self, took: Duration) {
        self.turns.add(took);
    }

    /// How long the datagram at the end of the receive queue waits, by the last look at the queue.
    #[must_use]
    pub fn queue_delay(&self) -> Duration {
        Duration::from_millis(self.queue_millis.get())
    }

    /// Shows how long datagrams wait. For the owner alone.
    pub(crate) fn show_queue_delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.queue_millis.set(millis);
    }

    /// What the worker gives up.
    #[must_use]
    pub fn overload(&self) -> overload::Level {
        overload::Level::nth(usize::try_from(self.overload.get()).unwrap_or(usize::MAX))
    }

    /// Shows what the worker gives up. For the owner alone.
    pub(crate) fn show_overload(&self, level: overload::Level) {
        self.overload.set(level as u64);
    }

    /// Failures of `operation` with the error number `error`, which is below [`ERRORS`](super::ERRORS).
    #[must_use]
    pub fn failures(&self, operation: Operation, error: usize) -> u64 {
        self.failures.get(operation, error)
    }
}
