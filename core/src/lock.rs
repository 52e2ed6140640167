//! The lock around shared state: a mutex with `std`, a cell without.

#[cfg(feature = "std")]
type Inner<T> = std::sync::Mutex<T>;
#[cfg(not(feature = "std"))]
type Inner<T> = core::cell::RefCell<T>;

/// A place that is written once, and read without a lock.
#[cfg(feature = "std")]
pub(crate) type Once<T> = std::sync::OnceLock<T>;
#[cfg(not(feature = "std"))]
pub(crate) type Once<T> = core::cell::OnceCell<T>;

/// State behind a lock. It is reached only inside a closure, so that the lock is never held across a wait.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Inner<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    /// Runs `act` on the state. Panics if another thread panicked while it held the lock.
    #[cfg(feature = "std")]
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        #[expect(
            clippy::expect_used,
            reason = "state that a panic left half changed must not be served"
        )]
        let mut guard = self.0.lock().expect("a worker panicked while it held this lock");
        act(&mut guard)
    }

    /// Runs `act` on the state.
    #[cfg(not(feature = "std"))]
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.borrow_mut())
    }
}
