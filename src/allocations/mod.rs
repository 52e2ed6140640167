//! Counts of allocations. A request about known torrents and peers makes none.

mod sys;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Calls since the start, by their names in C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allocations {
    /// Uninitialized memory.
    pub(crate) malloc: u64,
    /// Zeroed memory.
    pub(crate) calloc: u64,
    /// Resized memory.
    pub(crate) realloc: u64,
    /// Freed memory.
    pub(crate) free: u64,
}

impl Allocations {
    /// The calls until now, of all threads.
    pub(crate) fn take() -> Self {
        let sum = |of: fn(&Calls) -> &AtomicU64| CALLS.iter().map(|calls| of(calls).load(Relaxed)).sum();
        // Frees are read first, so that a concurrent allocation and its free never show more frees than allocations.
        let free = sum(|calls| &calls.free);
        Self {
            malloc: sum(|calls| &calls.malloc),
            calloc: sum(|calls| &calls.calloc),
            realloc: sum(|calls| &calls.realloc),
            free,
        }
    }

    /// Allocations since the start.
    pub(crate) const fn pieces(&self) -> u64 {
        self.malloc.wrapping_add(self.calloc)
    }

    /// Allocations held now.
    pub(crate) const fn held(&self) -> u64 {
        self.pieces().saturating_sub(self.free)
    }
}

/// The counts of some threads, on separate cache lines, so that workers do not contend.
#[derive(Debug)]
#[repr(align(128))]
struct Calls {
    malloc: AtomicU64,
    calloc: AtomicU64,
    realloc: AtomicU64,
    free: AtomicU64,
}

impl Calls {
    const fn new() -> Self {
        Self {
            malloc: AtomicU64::new(0),
            calloc: AtomicU64::new(0),
            realloc: AtomicU64::new(0),
            free: AtomicU64::new(0),
        }
    }

    /// The counts of this thread. It does not allocate, and works while a thread ends.
    fn of_this_thread() -> &'static Self {
        let share = SHARE.try_with(|share| {
            if share.get() == usize::MAX {
                share.set(THREADS.fetch_add(1, Relaxed) % SHARES);
            }
            share.get()
        });
        &CALLS[share.unwrap_or_default()]
    }
}

/// Further threads share counts.
const SHARES: usize = 32;
static CALLS: [Calls; SHARES] = [const { Calls::new() }; SHARES];
/// Threads that have counted so far.
static THREADS: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    static SHARE: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn each_call_is_counted() {
        // Other tests allocate at the same time: there are so many at least.
        const TIMES: u64 = 1000;
        let before = Allocations::take();
        for _ in 0..TIMES {
            let mut bytes = black_box(Vec::<u8>::with_capacity(100));
            bytes.reserve_exact(black_box(1000));
            drop(black_box(bytes));
            drop(black_box(vec![0_u8; 100]));
        }
        let after = Allocations::take();
        assert!(after.malloc >= before.malloc + TIMES);
        assert!(after.calloc >= before.calloc + TIMES);
        assert!(after.realloc >= before.realloc + TIMES || after.malloc >= before.malloc + 2 * TIMES);
        assert!(after.free >= before.free + 2 * TIMES);
    }

    #[test]
    fn what_is_held_was_asked_for_and_not_given_back() {
        let allocations = Allocations {
            malloc: 7,
            calloc: 4,
            realloc: 100,
            free: 5,
        };
        assert_eq!((allocations.pieces(), allocations.held()), (11, 6));
    }
}
