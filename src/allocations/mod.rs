//! How often the process asked for memory. A request about known torrents and peers never does.

mod sys;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    /// The calls until now.
    pub(crate) fn take() -> Self {
        // First, so that there are never more of these than of those that they undo.
        let free = FREE.load(Relaxed);
        Self {
            malloc: MALLOC.load(Relaxed),
            calloc: CALLOC.load(Relaxed),
            realloc: REALLOC.load(Relaxed),
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

static MALLOC: AtomicU64 = AtomicU64::new(0);
static CALLOC: AtomicU64 = AtomicU64::new(0);
static REALLOC: AtomicU64 = AtomicU64::new(0);
static FREE: AtomicU64 = AtomicU64::new(0);

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
