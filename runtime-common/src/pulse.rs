//! Whether workers are alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etracker_core::Instant;

/// A worker's sign of life: its thread runs tasks, and its timers go off. A worker beats it every [`BEAT`]; one that is silent
/// for long is taken to hang.
#[derive(Clone, Debug)]
pub struct Pulse {
    /// Milliseconds.
    latest: Arc<AtomicU64>,
}

impl Pulse {
    /// One that beat `now`.
    pub(crate) fn new(now: Instant) -> Self {
        let latest = Arc::new(AtomicU64::new(now.as_millis()));
        Self { latest }
    }

    /// Shows that the worker is alive at `now`, by the clock of its job.
    pub fn beat(&self, now: Instant) {
        self.latest.store(now.as_millis(), Ordering::Relaxed);
    }

    pub(crate) fn latest(&self) -> Instant {
        Instant::from_millis(self.latest.load(Ordering::Relaxed))
    }
}

/// The time between two beats of a worker that is alive.
pub const BEAT: Duration = Duration::from_secs(1);
