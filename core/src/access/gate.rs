//! How workers see the lists in force, and how others replace them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::Access;
use crate::lock::Lock;

/// One worker's view of the lists. It holds its lock while it acts on what it saw; no other worker waits for it.
pub(crate) type Gate = Lock<Arc<Access>>;

/// The gates of all workers.
#[derive(Debug)]
pub(crate) struct Gates(Lock<Inner>);

#[derive(Debug)]
struct Inner {
    access: Arc<Access>,
    gates: Vec<Arc<Gate>>,
}

impl Gates {
    pub(crate) const fn new(access: Arc<Access>) -> Self {
        Self(Lock::new(Inner {
            access,
            gates: Vec::new(),
        }))
    }

    /// A gate for one more worker.
    #[cfg_attr(
        not(feature = "std"),
        expect(clippy::arc_with_non_send_sync, reason = "without `std` there is one thread")
    )]
    pub(crate) fn add(&self) -> Arc<Gate> {
        self.0.with(|inner| {
            let gate = Arc::new(Gate::new(Arc::clone(&inner.access)));
            inner.gates.push(Arc::clone(&gate));
            gate
        })
    }

    pub(crate) fn access(&self) -> Arc<Access> {
        self.0.with(|inner| Arc::clone(&inner.access))
    }

    /// Puts `access` in force: when this returns, nothing is under way that saw the lists before. These are returned,
    /// as freeing them can take long, and workers wait for the gates.
    #[must_use]
    pub(crate) fn replace(&self, access: &Arc<Access>) -> Arc<Access> {
        self.0.with(|inner| {
            let before = mem::replace(&mut inner.access, Arc::clone(access));
            for gate in &inner.gates {
                gate.with(|seen| *seen = Arc::clone(access));
            }
            before
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_replaces_the_lists_is_the_last_to_hold_those_before() {
        let gates = Gates::new(Arc::default());
        let workers = [gates.add(), gates.add()];
        let before = gates.replace(&Arc::default());
        assert_eq!(Arc::strong_count(&before), 1);
        let now = gates.access();
        assert!(
            workers
                .iter()
                .all(|gate| gate.with(|seen| Arc::ptr_eq(seen, &now)))
        );
    }
}
