//! Wakes a worker from its wait when one of its tasks can go on, by its own tasks or from other threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::Wake;

use rustix::event::{EventfdFlags, eventfd};

/// Wakes one worker. A system call is made only if it waits.
#[derive(Debug)]
pub(crate) struct Notifier {
    /// Readable, edge-triggered, after each notification of a worker that waited. It is never read.
    eventfd: OwnedFd,
    state: AtomicU8,
}

impl Notifier {
    /// The notifier of a worker that runs tasks.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            eventfd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            state: AtomicU8::new(RUNNING),
        })
    }

    /// What to wait for beside all sockets.
    pub(crate) fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// Begins a wait. False if a task was woken since the last wait: then the worker must not wait.
    pub(crate) fn begin_wait(&self) -> bool {
        self.state
            .compare_exchange(RUNNING, WAITING, SeqCst, SeqCst)
            .is_ok()
    }

    /// Ends a wait: the worker polls all tasks that were woken before.
    pub(crate) fn end_wait(&self) {
        self.state.store(RUNNING, SeqCst);
    }
}

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(NOTIFIED, SeqCst) == WAITING {
            // It fails only after 2^64 notifications.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }
}

/// The worker runs tasks.
const RUNNING: u8 = 0;
/// The worker waits, or is about to.
const WAITING: u8 = 1;
/// A task was woken since the last wait ended.
const NOTIFIED: u8 = 2;

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(notifier: &Notifier) -> bool {
        let mut eventfd = [PollFd::new(&notifier.eventfd, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut eventfd, Some(&at_once)).unwrap() > 0
    }

    #[test]
    fn a_worker_that_runs_is_kept_from_waiting_without_a_system_call() {
        let notifier = Arc::new(Notifier::new().unwrap());
        notifier.wake_by_ref();
        assert!(!is_readable(&notifier));
        assert!(!notifier.begin_wait());
        notifier.end_wait();
        assert!(notifier.begin_wait());
    }

    #[test]
    fn a_worker_that_waits_is_woken() {
        let notifier = Arc::new(Notifier::new().unwrap());
        assert!(notifier.begin_wait());
        std::thread::scope(|scope| {
            scope.spawn(|| notifier.wake_by_ref());
        });
        assert!(is_readable(&notifier));
    }
}
