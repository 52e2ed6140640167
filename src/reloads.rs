//! What came of reading files again, for pages.

use crate::finding::Failed;
use crate::shared::Shared;

/// What came of all reloads; shared by what reloads and by pages.
pub(crate) type ReloadLog = Shared<Reloads>;

/// Reloads since the start, by what is reloaded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reloads {
    pub(crate) lists: Reloaded,
    pub(crate) certificates: Reloaded,
}

/// What came of the reloads of one kind of files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reloaded {
    /// All, those that failed included.
    pub(crate) reloads: u64,
    pub(crate) failures: u64,
    /// Why the last one failed, if it did.
    pub(crate) failed: Option<Failed>,
}

impl ReloadLog {
    /// Notes a reload of lists.
    pub(crate) fn lists(&self, outcome: Result<(), Failed>) {
        self.with(|reloads| reloads.lists.note(outcome));
    }

    /// Notes a reload of certificates.
    pub(crate) fn certificates(&self, outcome: Result<(), Failed>) {
        self.with(|reloads| reloads.certificates.note(outcome));
    }
}

impl Reloaded {
    fn note(&mut self, outcome: Result<(), Failed>) {
        self.reloads += 1;
        self.failed = outcome.err();
        self.failures += u64::from(self.failed.is_some());
    }
}
