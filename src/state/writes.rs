//! What came of writing the state, for pages.

use std::time::Duration;

use etracker_core::Instant;

use crate::finding::Failed;
use crate::shared::Shared;

/// What came of all writes; shared by what writes and by pages.
pub(crate) type WriteLog = Shared<Writes>;

/// Writes of the state since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes {
    /// Those that succeeded.
    pub(crate) writes: u64,
    pub(crate) failures: u64,
    /// The time of all that succeeded.
    pub(crate) time: Duration,
    /// The last that succeeded.
    pub(crate) last: Option<Written>,
    /// Why the last one failed, if it did.
    pub(crate) failed: Option<Failed>,
}

/// One write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) at: Instant,
    pub(crate) time: Duration,
    pub(crate) bytes: u64,
    pub(crate) torrents: u64,
    pub(crate) peers: u64,
}

impl WriteLog {
    pub(super) fn written(&self, written: Written) {
        self.with(|writes| {
            writes.writes += 1;
            writes.time = writes.time.saturating_add(written.time);
            (writes.last, writes.failed) = (Some(written), None);
        });
    }

    pub(super) fn failed(&self, why: Failed) {
        self.with(|writes| {
            writes.failures += 1;
            writes.failed = Some(why);
        });
    }
}
