//! How a worker that waits is told, by its own tasks or from other threads, that a task can go on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::Wake;

use rustix::event::{EventfdFlags, eventfd};

/// Wakes one worker. A system call is made only if it sleeps.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// Readable, edge-triggered, whenever the alarm went off while it was set. It is never read.
    bell: OwnedFd,
    state: AtomicU8,
}

impl Alarm {
    /// An alarm of a worker that is awake.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            state: AtomicU8::new(AWAKE),
        })
    }

    /// What to wait for beside all else.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Sets the alarm, after which the worker may sleep. If it went off since it was silenced, it may not.
    pub(crate) fn set(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, SeqCst, SeqCst).is_ok()
    }

    /// The worker is awake: it will look at all tasks that were woken before.
    pub(crate) fn silence(&self) {
        self.state.store(AWAKE, SeqCst);
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(RUNG, SeqCst) == ASLEEP {
            // It fails only when it has been rung 2^64 times.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }
}

/// The worker looks at its tasks.
const AWAKE: u8 = 0;
/// The worker waits, or is about to.
const ASLEEP: u8 = 1;
/// A task was woken since the worker has looked.
const RUNG: u8 = 2;

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn rings(alarm: &Alarm) -> bool {
        let mut bell = [PollFd::new(&alarm.bell, PollFlags::IN)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut bell, Some(&at_once)).unwrap() > 0
    }

    #[test]
    fn one_who_is_awake_is_kept_from_sleeping_without_a_bell() {
        let alarm = Arc::new(Alarm::new().unwrap());
        alarm.wake_by_ref();
        assert!(!rings(&alarm));
        assert!(!alarm.set());
        alarm.silence();
        assert!(alarm.set());
    }

    #[test]
    fn the_bell_rings_for_a_sleeper() {
        let alarm = Arc::new(Alarm::new().unwrap());
        assert!(alarm.set());
        std::thread::scope(|scope| {
            scope.spawn(|| alarm.wake_by_ref());
        });
        assert!(rings(&alarm));
    }
}
