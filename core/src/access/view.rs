//! The lists in force: a view for each worker, and their replacement.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::Access;
use crate::lock::Lock;

/// One worker's view of the lists. The worker locks it for the whole announce; only a replacement waits for that lock.
pub(crate) type AccessView = Lock<Arc<Access>>;

/// The views of all workers, and the lists that the next one gets.
#[derive(Debug)]
pub(crate) struct AccessViews(Lock<Inner>);

#[derive(Debug)]
struct Inner {
    access: Arc<Access>,
    views: Vec<Arc<AccessView>>,
}

impl AccessViews {
    pub(crate) const fn new(access: Arc<Access>) -> Self {
        Self(Lock::new(Inner {
            access,
            views: Vec::new(),
        }))
    }

    /// Adds a worker, and returns its view.
    #[cfg_attr(
        not(feature = "std"),
        expect(clippy::arc_with_non_send_sync, reason = "without `std` there is one thread")
    )]
    pub(crate) fn add(&self) -> Arc<AccessView> {
        self.0.with(|inner| {
            let view = Arc::new(AccessView::new(Arc::clone(&inner.access)));
            inner.views.push(Arc::clone(&view));
            view
        })
    }

    pub(crate) fn access(&self) -> Arc<Access> {
        self.0.with(|inner| Arc::clone(&inner.access))
    }

    /// Puts `access` in force: after this no announce under way uses the old lists. Returns these: to free millions of entries
    /// takes long, and a worker would wait for its view meanwhile.
    #[must_use]
    pub(crate) fn replace(&self, access: &Arc<Access>) -> Arc<Access> {
        self.0.with(|inner| {
            let before = mem::replace(&mut inner.access, Arc::clone(access));
            for view in &inner.views {
                view.with(|seen| *seen = Arc::clone(access));
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
        let views = AccessViews::new(Arc::default());
        let workers = [views.add(), views.add()];
        let before = views.replace(&Arc::default());
        assert_eq!(Arc::strong_count(&before), 1);
        let now = views.access();
        assert!(
            workers
                .iter()
                .all(|view| view.with(|seen| Arc::ptr_eq(seen, &now)))
        );
    }
}
