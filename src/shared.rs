//! What one part of the program finds out, and pages show.

use std::sync::{Arc, Mutex, PoisonError};

/// A value that one thread changes and others copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T: Clone> Shared<T> {
    /// The value as it is now.
    pub(crate) fn get(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn with(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
