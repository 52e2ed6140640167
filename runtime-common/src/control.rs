//! How the world outside tells the workers something, and sees that they live.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use etracker_core::Instant;

use crate::pulse::Pulse;

/// Tells all workers of a [`Job`](crate::Job) to stop, from any thread.
#[derive(Default)]
pub struct Control {
    stopping: AtomicBool,
    wakers: Mutex<Vec<Wake>>,
    /// Of each worker.
    pulses: Mutex<Vec<Pulse>>,
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
        // Under the lock that `stop` takes after it has stored: a stop is seen here, or finds this waker.
        if self.is_stopping() {
            wake();
        }
        wakers.push(Box::new(wake));
    }

    /// When the worker that has been silent for longest showed last that it is alive; nothing before there are workers.
    #[must_use]
    pub fn oldest_beat(&self) -> Option<Instant> {
        self.pulses().iter().map(Pulse::latest).min()
    }

    /// The pulse of one more worker, who has to show from now on that it is alive.
    pub(crate) fn new_pulse(&self, now: Instant) -> Pulse {
        let pulse = Pulse::new(now);
        self.pulses().push(pulse.clone());
        pulse
    }

    /// A waker that panicked leaves the list as it was.
    fn wakers(&self) -> MutexGuard<'_, Vec<Wake>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pulses(&self) -> MutexGuard<'_, Vec<Pulse>> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn the_worker_that_is_silent_for_longest_counts() {
        let control = Control::new();
        assert_eq!(control.oldest_beat(), None);
        let [first, second] = [10, 11].map(|secs| control.new_pulse(Instant::from_secs(secs)));
        first.beat(Instant::from_secs(20));
        assert_eq!(control.oldest_beat(), Some(Instant::from_secs(11)));
        second.beat(Instant::from_secs(21));
        assert_eq!(control.oldest_beat(), Some(Instant::from_secs(20)));
    }
}
