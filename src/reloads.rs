//! What came of reading files again, for pages.

use std::sync::{Arc, Mutex, PoisonError};

use crate::finding::Failed;

/// What came of all reloads; shared by what reloads and by pages.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReloadLog(Arc<Mutex<Reloads>>);

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
    /// Everything, as it is now.
    pub(crate) fn all(&self) -> Reloads {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a reload of lists.
    pub(crate) fn lists(&self, outcome: Result<(), Failed>) {
        self.with(|reloads| reloads.lists.note(outcome));
    }

    /// Notes a reload of certificates.
    pub(crate) fn certificates(&self, outcome: Result<(), Failed>) {
        self.with(|reloads| reloads.certificates.note(outcome));
    }

    fn with(&self, note: impl FnOnce(&mut Reloads)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Reloaded {
    fn note(&mut self, outcome: Result<(), Failed>) {
        self.reloads += 1;
        self.failed = outcome.err();
        self.failures += u64::from(self.failed.is_some());
    }
}
