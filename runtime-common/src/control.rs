//! How the world outside tells the workers something.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells all workers of a [`Job`](crate::Job) to stop, from any thread.
#[derive(Default)]
pub struct Control {
    stopping: AtomicBool,
    wakers: Mutex<Vec<Wake>>,
}

type Wake = Box<dyn Fn() + Send>;

impl Control {
    /// Nothing is asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the workers to stop: they accept nothing more, finish what is in hand within a second, and
    /// `serve` returns. Calling it again is harmless.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for wake in self.wakers().iter() {
            wake();
        }
    }

    /// Whether the workers were asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Has `wake` called, from whatever thread, each time something is asked for; at once if that was before.
    pub fn on_change(&self, wake: impl Fn() + Send + 'static) {
        let mut wakers = self.wakers();
        if self.is_stopping() {
            wake();
        }
        wakers.push(Box::new(wake));
    }

    /// A waker that panicked leaves the list as it was.
    fn wakers(&self) -> std::sync::MutexGuard<'_, Vec<Wake>> {
        self.wakers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("stopping", &self.is_stopping())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn those_who_ask_before_and_after_the_stop_are_woken() {
        let control = Control::new();
        let woken = Arc::new(AtomicUsize::new(0));
        let count = |woken: &Arc<AtomicUsize>| {
            let woken = Arc::clone(woken);
            move || {
                woken.fetch_add(1, Ordering::SeqCst);
            }
        };
        control.on_change(count(&woken));
        assert_eq!((control.is_stopping(), woken.load(Ordering::SeqCst)), (false, 0));
        control.stop();
        assert_eq!((control.is_stopping(), woken.load(Ordering::SeqCst)), (true, 1));
        control.on_change(count(&woken));
        assert_eq!(woken.load(Ordering::SeqCst), 2);
    }
}
