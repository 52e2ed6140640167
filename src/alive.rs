//! Whether the tracker lives: its workers run tasks, and the periodic work is done.

use std::sync::Arc;
use std::time::Duration;

use etracker_core::{Instant, Tracker};
use etracker_runtime_common::{BEAT, Control};

/// Watches workers for the service manager and for `/health`.
#[derive(Clone, Debug)]
pub(crate) struct Life(Arc<Control>);

impl Life {
    pub(crate) fn new(control: &Arc<Control>) -> Self {
        Self(Arc::clone(control))
    }

    /// Whether every worker has beaten its pulse lately, and the periodic work of `tracker` is not late.
    pub(crate) fn is_lived(&self, now: Instant, tracker: &Tracker) -> bool {
        let due = tracker.poll_timeout();
        let oldest = self.0.oldest_beat().map_or(due, |beat| beat.min(due));
        now.saturating_since(oldest) < LATE
    }

    /// Whether the workers were asked to stop.
    pub(crate) fn is_ending(&self) -> bool {
        self.0.is_stopping()
    }
}

/// A pulse or the periodic work is this late only if a worker hangs.
const LATE: Duration = BEAT.saturating_mul(5);
