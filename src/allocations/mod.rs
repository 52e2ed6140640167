//! How often the process asked for memory. A request about known torrents and peers never does.

mod sys;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Calls since the start, under the names that they have in C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allocations {
    /// Memory as it comes.
    pub(crate) malloc: u64,
    /// Memory full of zeros.
    pub(crate) calloc: u64,
    /// More or less memory in place of some.
    pub(crate) realloc: u64,
    /// Memory given back.
    pub(crate) free: u64,
}

impl Allocations {
    /// The calls until now, of all threads.
    pub(crate) fn take() -> Self {
        let sum = |of: fn(&Calls) -> &AtomicU64| CALLS.iter().map(|calls| of(calls).load(Relaxed)).sum();
        // First, so that there are never more of these than of those that they undo.
        let free = sum(|calls| &calls.free);
        Self {
            malloc: sum(|calls| &calls.malloc),
            calloc: sum(|calls| &calls.calloc),
            realloc: sum(|calls| &calls.realloc),
            free,
        }
    }

    /// Pieces of memory that were asked for.
    pub(crate) const fn pieces(&self) -> u64 {
        self.malloc.wrapping_add(self.calloc)
    }

    /// Pieces of memory that are held.
    pub(crate) const fn held(&self) -> u64 {
        self.pieces().saturating_sub(self.free)
    }
}

/// What some threads count, on cache lines of their own: workers do not wait for each other to count.
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

    /// Those of this thread. Allocates nothing, and may be asked for while a thread ends.
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

/// Threads beyond these count together with others.
const SHARES: usize = 32;
static CALLS: [Calls; SHARES] = [const { Calls::new() }; SHARES];
/// Threads that counted until now.
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
